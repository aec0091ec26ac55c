//! Plugins that are built in.

use std::path::Path;

use crate::config::Config;

fn parse(text: &str) -> Config {
    Config::parse(text, "m.conf").expect(text)
}

#[track_caller]
fn refused(text: &str, line: u32, part: &str) {
    let errors = Config::parse(text, "m.conf").expect_err(text);
    let error = &errors.errors()[0];
    assert_eq!(error.line, line, "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn the_libraries_of_mosquitto_select_what_is_built_in() {
    let text = "plugin /usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so\n\
                plugin_opt_config_file /var/lib/mosquitto/dynsec.json\n\
                plugin_opt_password_init_file /run/first\n\
                global_plugin /usr/lib/mosquitto_password_file.so\n\
                plugin_opt_password_file /etc/passwd\n\
                auth_plugin mosquitto_acl_file.dll\n\
                auth_opt_acl_file /etc/acl\n\
                listener 1883\nlistener 1884\n";
    for listener in parse(text).listeners {
        let settings = listener.settings;
        let dynsec = settings.dynamic_security.as_ref().expect("dynsec");
        assert_eq!(
            dynsec.config_file,
            Path::new("/var/lib/mosquitto/dynsec.json")
        );
        assert_eq!(
            dynsec.password_init_file.as_deref(),
            Some(Path::new("/run/first"))
        );
        assert_eq!(
            settings.password_file.as_deref(),
            Some(Path::new("/etc/passwd"))
        );
        assert_eq!(settings.acl_file.as_deref(), Some(Path::new("/etc/acl")));
        assert!(settings.asks_who_comes());
    }
}

#[test]
fn with_per_listener_settings_files_and_plugins_are_the_listeners_own() {
    let text = "per_listener_settings true\nlistener 1883\npassword_file /one\nlistener 1884\n\
                plugin mosquitto_acl_file.so\nplugin_opt_acl_file /two\nlistener 1885\nallow_anonymous true\n";
    let config = parse(text);
    let of = |index: usize| &config.listeners[index].settings;
    assert_eq!(of(0).password_file.as_deref(), Some(Path::new("/one")));
    assert_eq!(of(0).acl_file, None);
    assert_eq!(of(1).acl_file.as_deref(), Some(Path::new("/two")));
    assert!(!of(2).asks_who_comes());
}

#[test]
fn a_loaded_plugin_is_used_where_a_listener_says_so() {
    let text = "plugin_load files mosquitto_password_file.so\nplugin_opt_password_file /p\n\
                listener 1883\nlistener 1884\nplugin_use files\n";
    let config = parse(text);
    assert_eq!(config.listeners[0].settings.password_file, None);
    assert!(config.listeners[1].settings.password_file.is_some());
    refused(
        "listener 1883\nplugin_use files\n",
        2,
        "has not been loaded",
    );
    let twice = "plugin_load a mosquitto_acl_file.so\nplugin_load a mosquitto_acl_file.so\n";
    refused(twice, 2, "Duplicate");
}

#[test]
fn what_is_not_built_in_is_refused_with_what_is() {
    refused("plugin /opt/auth.so\n", 1, "mosquitto_dynamic_security");
    refused(
        "plugin mosquitto_acl_file.so\nplugin_opt_password_file /p\n",
        2,
        "plugin_opt_acl_file",
    );
    refused("plugin_opt_acl_file /p\n", 1, "to be defined first");
}
