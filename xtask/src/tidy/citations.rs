//! Every statement id that the code cites must exist.

use super::Problem;
use crate::Outcome;
use crate::source::line_of;
use crate::statements::{Statements, ids_in, ids_without_version, read};
use crate::workspace::Workspace;

pub(super) fn rule(workspace: &Workspace) -> Outcome<Vec<Problem>> {
    let statements = read(workspace)?;
    Ok(workspace
        .rust_files()
        .flat_map(|(path, text)| check(path, &text, &statements))
        .collect())
}

fn check(path: &str, text: &str, statements: &Statements) -> Vec<Problem> {
    let unknown = ids_in(text)
        .into_iter()
        .filter(|(_, id)| !statements.contains_key(id))
        .map(|(at, id)| {
            Problem::at(
                path,
                line_of(text, at),
                format!("{id} is in no list of spec/"),
            )
        });
    let bare = ids_without_version(text).into_iter().map(|at| {
        let message = "an id needs its version, MQTT5 or MQTT311: the numbers differ";
        Problem::at(path, line_of(text, at), message)
    });
    unknown.chain(bare).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_id_is_found_with_its_line() {
        let statements = read(&Workspace::open().unwrap()).unwrap();
        let known = ["MQTT5", "3.1.2-8"].join("-");
        let unknown = ["MQTT5", "3.1.2-99"].join("-");
        let bare = ["MQTT", "3.1.2-8"].join("-");
        let text = format!("// {known}\n// {unknown}\n\n// {bare}\n");
        let problems = check("a.rs", &text, &statements);
        assert_eq!(problems.len(), 2);
        assert_eq!(problems[0].line, Some(2));
        assert_eq!(problems[1].line, Some(4));
    }
}
