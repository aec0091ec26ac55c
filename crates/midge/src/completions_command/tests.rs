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
fn fish_understands_its_completions() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), shells::fish(COMMANDS)).unwrap();
    let script = format!(
        "source {}; for line in 'midge sub --tls-version t' 'midge be' 'midge bench fan-in --pub' \
         'mosquitto_rr --lat' 'midge check '; complete -C $line; end",
        file.path().display()
    );
    let mut fish = std::process::Command::new("fish");
    let Ok(output) = fish.args(["--no-config", "-c", &script]).output() else {
        println!("left out: there is no fish");
        return;
    };
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8_lossy(&output.stdout);
    let words: Vec<_> = text
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    let expected = [
        "tlsv1.2",
        "tlsv1.3",
        "bench",
        "--publishers",
        "--latency",
        "acl",
        "passwords",
    ];
    assert_eq!(words, expected);
}

#[test]
fn zsh_understands_its_completions() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), shells::zsh(COMMANDS)).unwrap();
    // What the completion system of zsh brings, as far as it is asked.
    let script = format!(
        "compadd() {{ shift; print -r -- $@ }}\n_arguments() {{ print -r -- ${{(M)@:#*$look*}} }}\ncompdef() {{ }}\n\
         service=midge; words=(midge check ''); CURRENT=3; source {0}\n\
         look=tls-alpn; words=(midge sub --tls-a); CURRENT=3; source {0}\n\
         look=latency; service=mosquitto_rr; words=(mosquitto_rr --lat); CURRENT=2; source {0}\n",
        file.path().display()
    );
    let Ok(output) = std::process::Command::new("zsh")
        .args(["-f", "-c", &script])
        .output()
    else {
        println!("left out: there is no zsh");
        return;
    };
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<_> = text.lines().collect();
    let [check, sub, rr] = lines.as_slice() else {
        panic!("{text}");
    };
    assert_eq!(*check, "acl passwords");
    assert!(
        sub.contains("--tls-alpn") && rr.contains("--latency"),
        "{text}"
    );
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
