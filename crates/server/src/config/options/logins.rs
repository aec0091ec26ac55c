//! Options of tokens and of the HTTP back end, general or for one listener.

use super::Scope::GeneralOrListener;
use super::ValueType::{Form, Text};
use super::{OptionDef, number};
use crate::config::logins::{address, algorithms, auth_order, words};

const CLAIM: &str = "a claim by its path, as in sub or realm_access.roles";

pub(super) static OPTIONS: &[OptionDef] = &[
    OptionDef::new(
        "auth_order",
        GeneralOrListener,
        Form("some of certificate psk oauth password_file dynsec http anonymous"),
        "as security.md says",
        "The methods that judge logins, in this order: the first that knows a login decides. Those that \
         are left out are not asked.",
    )
    .by_midge()
    .reads(auth_order),
    OptionDef::new(
        "http_login_cache",
        GeneralOrListener,
        number(0, 3_600),
        "10",
        "Seconds for which an answer of the HTTP back end counts that does not say cache_for; 0 \
         keeps no answer, whatever it says.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.http_login().cache_secs = args.integer()?;
        Ok(())
    }),
    OptionDef::new(
        "http_login_timeout",
        GeneralOrListener,
        number(100, 20_000),
        "5000",
        "Milliseconds after which a login that the HTTP back end has not answered is refused.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.http_login().timeout_ms = args.integer()?;
        Ok(())
    }),
    OptionDef::new(
        "http_login_token_file",
        GeneralOrListener,
        Text,
        "",
        "The file with the bearer token that the broker shows to the HTTP back end.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.http_login().token_file = Some(args.text()?.into());
        Ok(())
    }),
    OptionDef::new(
        "http_login_url",
        GeneralOrListener,
        Text,
        "",
        "The address that is asked about logins of users whom neither password_file nor dynamic \
         security knows; https, or http on this machine. See security.md for the JSON.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.http_login().url = address(args)?;
        Ok(())
    }),
    OptionDef::new(
        "oauth_algorithms",
        GeneralOrListener,
        Form("names such as RS256 ES256 EdDSA"),
        "all but the HMACs",
        "The signature algorithms that tokens may have. HS256 and its like need oauth_key_file.",
    )
    .by_midge()
    .reads(algorithms),
    OptionDef::new(
        "oauth_audience",
        GeneralOrListener,
        Form("one or more words, or *"),
        "",
        "What a token must be for: one of these must be in its aud. * takes tokens for anybody.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.oauth().audience = words(args)?;
        Ok(())
    }),
    OptionDef::new(
        "oauth_clientid_claim",
        GeneralOrListener,
        Form(CLAIM),
        "",
        "The claim with the client ids that a token is for, one or an array; a token without it is \
         refused.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.oauth().clientid_claim = Some(args.word()?.to_owned());
        Ok(())
    }),
    OptionDef::new(
        "oauth_groups_claim",
        GeneralOrListener,
        Form(CLAIM),
        "",
        "The claim with the groups of acl_file that the client is in, besides those that the file \
         gives it.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.oauth().groups_claim = Some(args.word()?.to_owned());
        Ok(())
    }),
    OptionDef::new(
        "oauth_introspection_client_id",
        GeneralOrListener,
        Text,
        "",
        "Who the broker is when it asks about opaque tokens.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.oauth().introspection_client_id = Some(args.text()?.to_owned());
        Ok(())
    }),
    OptionDef::new(
        "oauth_introspection_secret_file",
        GeneralOrListener,
        Text,
        "",
        "The file with the secret of oauth_introspection_client_id.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.oauth().introspection_secret_file = Some(args.text()?.into());
        Ok(())
    }),
    OptionDef::new(
        "oauth_introspection_uri",
        GeneralOrListener,
        Text,
        "",
        "The address that is asked about tokens that are not signed (RFC 7662). They come by \
         OAUTHBEARER, or as password with oauth_token_username.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.oauth().introspection_uri = Some(address(args)?);
        Ok(())
    }),
    OptionDef::new(
        "oauth_issuer",
        GeneralOrListener,
        Text,
        "",
        "The issuer that tokens must name, to the letter. Unless oauth_jwks_uri or oauth_key_file \
         says where its keys are, its discovery document does.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.oauth().issuer = Some(address(args)?);
        Ok(())
    }),
    OptionDef::new(
        "oauth_jwks_uri",
        GeneralOrListener,
        Text,
        "",
        "The address of the provider's keys (a JWK set).",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.oauth().jwks_uri = Some(address(args)?);
        Ok(())
    }),
    OptionDef::new(
        "oauth_key_file",
        GeneralOrListener,
        Text,
        "",
        "A file with keys that tokens are verified with: PEM, or a JWK set.",
    )
    .adds()
    .by_midge()
    .reads(|draft, args| {
        let file = args.text()?.into();
        draft.oauth().key_files.push(file);
        Ok(())
    }),
    OptionDef::new(
        "oauth_leeway",
        GeneralOrListener,
        number(0, 600),
        "60",
        "Seconds by which the clocks of provider and broker may differ.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.oauth().leeway_secs = args.integer()?;
        Ok(())
    }),
    OptionDef::new(
        "oauth_rules_claim",
        GeneralOrListener,
        Form(CLAIM),
        "mqtt",
        "The claim with rules about topics.",
    )
    .by_midge()
    .reads(|draft, args| {
        args.word()?.clone_into(&mut draft.oauth().rules_claim);
        Ok(())
    }),
    OptionDef::new(
        "oauth_token_username",
        GeneralOrListener,
        Text,
        "",
        "The user name that says that the password is a token. Without it every password that looks \
         like a signed token is one, whatever the user name.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.oauth().token_username = Some(args.text()?.to_owned());
        Ok(())
    }),
    OptionDef::new(
        "oauth_username_claim",
        GeneralOrListener,
        Form("claims by their paths, as in sub client_id"),
        "sub",
        "The claim with the user name: the first of these that a token has.",
    )
    .by_midge()
    .reads(|draft, args| {
        draft.oauth().username_claims = words(args)?;
        Ok(())
    }),
];
