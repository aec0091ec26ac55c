//! Plugins in a configuration: those of Mosquitto that are built in here.

use std::collections::HashMap;
use std::path::PathBuf;

use super::draft::{Draft, Security};
use super::value::{Args, Fault, shown};
use super::{DynamicSecurity, NoteLevel};

/// What `plugin` and its like may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BuiltIn {
    AccessFile,
    PasswordFile,
    DynamicSecurity,
}

impl BuiltIn {
    /// The plugin that a path to a library of Mosquitto's means.
    fn of(path: &str) -> Option<Self> {
        let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
        let name = name.split('.').next().unwrap_or(name);
        match name.strip_prefix("mosquitto_").unwrap_or(name) {
            "acl_file" => Some(Self::AccessFile),
            "password_file" => Some(Self::PasswordFile),
            "dynamic_security" => Some(Self::DynamicSecurity),
            _ => None,
        }
    }
}

/// Where options of a plugin go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Configured {
    /// To all listeners, or to the one that is described.
    Here(BuiltIn),
    /// To a plugin of this name, until a listener uses it.
    Named(String, BuiltIn),
}

/// Plugins by the name that `plugin_load` gave them, with their options.
#[derive(Clone, Debug, Default)]
pub(super) struct Loaded(HashMap<String, (BuiltIn, Vec<(String, String)>)>);

fn find(path: &str) -> Result<BuiltIn, Fault> {
    BuiltIn::of(path).ok_or_else(|| {
        Fault::new(
            format!("Error: Unable to load plugin '{}'.", shown(path)),
            "Midge loads no libraries; built in are mosquitto_dynamic_security, mosquitto_password_file \
             and mosquitto_acl_file",
        )
    })
}

/// `plugin` and `global_plugin`.
pub(super) fn plugin(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    let plugin = find(args.text()?)?;
    if args.option.name == "global_plugin" {
        draft.leave_listener();
    }
    begin(draft.security(), plugin);
    draft.set_plugin(Configured::Here(plugin));
    Ok(())
}

/// `plugin_load <name> <path>`.
pub(super) fn plugin_load(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    let name = args.word()?.to_owned();
    let plugin = find(args.text()?)?;
    let known = draft.plugins.0.insert(name.clone(), (plugin, Vec::new()));
    if known.is_some() {
        return Err(args.duplicate());
    }
    draft.set_plugin(Configured::Named(name, plugin));
    Ok(())
}

/// `plugin_use <name>`.
pub(super) fn plugin_use(draft: &mut Draft, args: &mut Args<'_>) -> Result<(), Fault> {
    let name = args.text()?;
    let Some((plugin, options)) = draft.plugins.0.get(name).cloned() else {
        return Err(Fault::new(
            format!("Error: Plugin '{}' has not been loaded.", shown(name)),
            "give it the name with 'plugin_load <name> <path>' before",
        ));
    };
    let security = &mut draft.listener()?.security;
    begin(security, plugin);
    for (option, value) in &options {
        set(security, plugin, option, value)?;
    }
    Ok(())
}

/// `plugin_opt_<option> <value>`; `name` is the whole name.
pub(super) fn plugin_option(
    draft: &mut Draft,
    name: &str,
    args: &mut Args<'_>,
) -> Result<(), Fault> {
    let value = args.text()?;
    let option = name
        .strip_prefix("plugin_opt_")
        .or_else(|| name.strip_prefix("auth_opt_"))
        .unwrap_or(name);
    match draft.plugin() {
        Some(Configured::Here(plugin)) => set(draft.security(), plugin, option, value),
        Some(Configured::Named(loaded, plugin)) => {
            // Whether it can be set is told here, where its line is.
            set(&mut Security::default(), plugin, option, value)?;
            if let Some((_, options)) = draft.plugins.0.get_mut(&loaded) {
                options.push((option.to_owned(), value.to_owned()));
            }
            Ok(())
        }
        None => Ok(()),
    }
}

fn begin(security: &mut Security, plugin: BuiltIn) {
    if plugin == BuiltIn::DynamicSecurity {
        security.dynamic_security.get_or_insert_default();
    }
}

fn set(security: &mut Security, plugin: BuiltIn, option: &str, value: &str) -> Result<(), Fault> {
    let path = PathBuf::from(value);
    match (plugin, option) {
        (BuiltIn::AccessFile, "acl_file") => security.acl_file = Some(path),
        (BuiltIn::PasswordFile, "password_file") => security.password_file = Some(path),
        (BuiltIn::DynamicSecurity, "config_file") => {
            security
                .dynamic_security
                .get_or_insert_default()
                .config_file = path;
        }
        (BuiltIn::DynamicSecurity, "password_init_file") => {
            let dynsec = security.dynamic_security.get_or_insert_default();
            dynsec.password_init_file = Some(path);
        }
        _ => {
            let known = match plugin {
                BuiltIn::AccessFile => "acl_file",
                BuiltIn::PasswordFile => "password_file",
                BuiltIn::DynamicSecurity => "config_file and password_init_file",
            };
            return Err(Fault::new(
                format!("Error: Unknown plugin option '{}'.", shown(option)),
                format!("this plugin has plugin_opt_{known}"),
            ));
        }
    }
    Ok(())
}

impl Draft {
    /// Tells of plugins that lack what they need.
    pub(super) fn check_plugins(&mut self) {
        let all = self.listeners.iter().map(|listener| &listener.security);
        let lacks = |security: &Security| {
            let dynsec = security.dynamic_security.as_ref();
            dynsec
                .is_some_and(|dynsec| dynsec.config_file == DynamicSecurity::default().config_file)
        };
        if all.chain([&self.general_security]).any(lacks) {
            let text = "Warning: Dynamic security keeps its clients, groups and roles in \
                        dynamic-security.json in the working directory, since plugin_opt_config_file \
                        is not set.";
            self.note_here(NoteLevel::Warning, text);
        }
    }
}
