use super::*;

#[test]
fn every_option_is_in_every_shell_and_in_the_manual() {
    let texts = [
        shells::bash(COMMANDS),
        shells::zsh(COMMANDS),
        shells::fish(COMMANDS),
    ];
    for (command, other) in COMMANDS {
        let page = manual::page(command, *other);
        for option in command.all_options() {
            for name in option.names {
                for text in &texts {
                    let bare = name.trim_start_matches('-');
                    assert!(text.contains(bare), "{name}");
                }
                assert!(page.contains(&name.replace('-', "\\-")), "{name}");
            }
        }
    }
}

#[test]
fn no_line_of_a_page_is_a_request_by_accident() {
    const REQUESTS: [&str; 8] = [".TH", ".SH", ".SS", ".TP", ".PP", ".nf", ".fi", ".B"];
    for (command, other) in COMMANDS {
        for line in manual::page(command, *other).lines() {
            let is_request = line.starts_with('.') || line.starts_with('\'');
            let request = line.split(' ').next().unwrap();
            assert!(
                !is_request || REQUESTS.iter().any(|known| request.starts_with(known)),
                "{line}"
            );
        }
    }
}

#[test]
fn bash_understands_its_completions() {
    let mut bash = std::process::Command::new("bash");
    let script = format!(
        "{}\nCOMP_WORDS=(midge sub --tls-version t); COMP_CWORD=3; _midge; echo \"${{COMPREPLY[@]}}\"\n\
         COMP_WORDS=(midge be); COMP_CWORD=1; _midge; echo \"${{COMPREPLY[@]}}\"\n\
         COMP_WORDS=(midge bench fan-in --pub); COMP_CWORD=3; _midge; echo \"${{COMPREPLY[@]}}\"\n\
         COMP_WORDS=(/usr/bin/mosquitto_rr --lat); COMP_CWORD=1; _midge; echo \"${{COMPREPLY[@]}}\"\n",
        shells::bash(COMMANDS)
    );
    let Ok(output) = bash.arg("-c").arg(script).output() else {
        // A system without bash needs none.
        return;
    };
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "tlsv1.3 tlsv1.2\nbench\n--publishers\n--latency\n"
    );
}
