//! Options that are general or for one listener, and the options of plugins.

use super::OptionDef;
use super::Scope::{General, GeneralOrListener, NamedListener, Plugin};
use super::ValueType::{Flag, Form, Text};
use crate::config::forms::{AUTO_ID_PREFIX_MAX, check_auto_id_prefix};
use crate::config::plugin::{plugin, plugin_load, plugin_use};

pub(super) static OPTIONS: &[OptionDef] = &[
    OptionDef::new(
        "acl_file",
        GeneralOrListener,
        Text,
        "",
        "The file that says who may publish and subscribe what.",
    )
    .reads(|draft, args| {
        draft.security().acl_file = Some(args.text()?.into());
        Ok(())
    }),
    OptionDef::new(
        "allow_anonymous",
        GeneralOrListener,
        Flag,
        "true without a listener, else false",
        "Whether clients may connect without a user name.",
    )
    .reads(|draft, args| {
        draft.security().allow_anonymous = Some(args.flag()?);
        Ok(())
    }),
    OptionDef::new(
        "allow_zero_length_clientid",
        GeneralOrListener,
        Flag,
        "true",
        "Whether clients of MQTT 3.1.1 and 5.0 may leave the choice of their identifier to the \
         broker.",
    )
    .reads(|draft, args| {
        draft.security().allow_zero_length_clientid = Some(args.flag()?);
        Ok(())
    }),
    OptionDef::new(
        "auto_id_prefix",
        GeneralOrListener,
        Text,
        "auto-",
        "What client identifiers chosen by the broker begin with; at most 50 bytes.",
    )
    .once()
    .deprecated("Please use 'listener_auto_id_prefix' instead.")
    .reads(|draft, args| {
        let prefix = &mut draft.security().auto_id_prefix;
        args.text_once(prefix)?;
        check_auto_id_prefix(
            prefix.as_deref(),
            "Error: auto_id_prefix length must be <= 50.",
        )
    }),
    OptionDef::new(
        "password_file",
        GeneralOrListener,
        Text,
        "",
        "The file with user names and hashes of their passwords.",
    )
    .reads(|draft, args| {
        draft.security().password_file = Some(args.text()?.into());
        Ok(())
    }),
    OptionDef::new(
        "psk_file",
        GeneralOrListener,
        Text,
        "",
        "The file with identities and pre-shared keys, for listeners with psk_hint.",
    )
    .reads(|draft, args| {
        draft.security().psk_file = Some(args.text()?.into());
        Ok(())
    }),
    OptionDef::new(
        "auth_plugin_deny_special_chars",
        Plugin,
        Flag,
        "true",
        "Whether a plugin is not asked about user names and client identifiers that contain + or \
         #.",
    )
    .accepted("the plugins that are built in judge such names themselves"),
    OptionDef::new(
        "global_plugin",
        General,
        Text,
        "",
        "Loads a plugin for all listeners, even with per_listener_settings.",
    )
    .adds()
    .reads(plugin),
    OptionDef::new("plugin", GeneralOrListener, Text, "", "Loads a plugin.")
        .also(&["auth_plugin"])
        .adds()
        .reads(plugin),
    OptionDef::new(
        "plugin_load",
        General,
        Form("<name> <path>"),
        "",
        "Loads a plugin under a name that plugin_use refers to.",
    )
    .adds()
    .reads(plugin_load),
    OptionDef::new(
        "plugin_opt_*",
        Plugin,
        Text,
        "",
        "Gives the plugin before it an option, whose name follows plugin_opt_.",
    )
    .also(&["auth_opt_*"])
    .adds()
    .reads(|_, _| Ok(())),
    OptionDef::new(
        "plugin_use",
        NamedListener,
        Text,
        "",
        "Uses a plugin that plugin_load has loaded for this listener.",
    )
    .adds()
    .reads(plugin_use),
    OptionDef::new(
        "listener_allow_anonymous",
        super::Scope::Listener,
        Flag,
        "as allow_anonymous",
        "Whether clients may connect to this listener without a user name.",
    )
    .reads(|draft, args| {
        draft.listener()?.security.allow_anonymous = Some(args.flag()?);
        Ok(())
    }),
    OptionDef::new(
        "listener_auto_id_prefix",
        super::Scope::Listener,
        Text,
        "as auto_id_prefix",
        "What client identifiers chosen by the broker begin with on this listener; at most 50 \
         bytes.",
    )
    .once()
    .reads(|draft, args| {
        let prefix = &mut draft.listener()?.security.auto_id_prefix;
        args.text_once(prefix)?;
        check_auto_id_prefix(
            prefix.as_deref(),
            "Error: 'listener_auto_id_prefix' length must be <= 50.",
        )
    }),
];

// The texts above say the number.
const _: () = assert!(AUTO_ID_PREFIX_MAX == 50);
