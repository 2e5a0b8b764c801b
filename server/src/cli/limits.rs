//! `cairn limits`: every ceiling of the server and of what it is made of, from the tables beside the constants.

use cairn_protocol::limit::{self, Limit, Value};
use clap::{Args, Command, CommandFactory};
use serde_json::{Value as Json, json};

use super::http::Problem;
use super::{Cli, show};

#[derive(Args)]
pub(super) struct LimitsArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The tables, each under the name of what it bounds.
const TABLES: [(&str, &[Limit]); 6] = [
    ("server", crate::limits::ALL),
    ("upkeep", crate::jobs::limits::ALL),
    ("store", crate::store::repo::limits::ALL),
    ("git", cairn_protocol::limits::ALL),
    ("packs", cairn_protocol::pack::limits::ALL),
    ("remotes", cairn_remote::limits::ALL),
];

/// Settings of `cairn serve` that bound what nothing bounds where they are not set.
const UNSET: [&str; 4] =
    ["--rate-limit-per-token", "--rate-limit-per-namespace", "--repo-bytes-max", "--namespace-bytes-max"];

/// A setting as the command line has it.
struct Setting {
    flag: &'static str,
    env: String,
    about: String,
}

/// The setting of that flag; `None` where `cairn serve` does not have it.
fn setting(serve: &Command, flag: &'static str) -> Option<Setting> {
    let name = flag.trim_start_matches('-');
    let arg = serve.get_arguments().find(|arg| arg.get_long() == Some(name))?;
    let env = arg.get_env().map(|env| env.to_string_lossy().into_owned()).unwrap_or_default();
    let about = arg.get_help().map(ToString::to_string).unwrap_or_default();
    Some(Setting { flag, env, about })
}

fn serve() -> Command {
    Cli::command().find_subcommand("serve").cloned().unwrap_or_default()
}

/// How a limit is set, in words.
fn set_by(serve: &Command, limit: &Limit) -> String {
    match limit.set.and_then(|flag| setting(serve, flag)) {
        Some(Setting { flag, env, .. }) => format!("`{flag}`, `{env}`"),
        None => "fixed".into(),
    }
}

fn unset(serve: &Command) -> impl Iterator<Item = Setting> {
    UNSET.iter().filter_map(|flag| setting(serve, flag))
}

/// Descriptors that a server started here could have, and the connections that they leave room for.
fn here() -> Option<(u64, usize)> {
    let descriptors = crate::descriptors::raise().ok()?;
    Some((descriptors, crate::descriptors::connections(descriptors)))
}

pub(super) fn run(args: LimitsArgs) -> Result<(), Problem> {
    let serve = serve();
    if args.json {
        return show::json(&document(&serve));
    }
    for (part, limits) in TABLES {
        show::line(&format!("{}:", part.to_uppercase()))?;
        let row = |limit: &Limit| {
            let set = set_by(&serve, limit).replace('`', "");
            vec![limit.name.to_owned(), limit.shown(), set, limit.about().replace('`', "")]
        };
        show::table(&["name", "#default", "set by", "what it bounds"], limits.iter().map(row))?;
        show::line("")?;
    }
    if let Some((descriptors, connections)) = here() {
        show::line(&format!(
            "HERE: {descriptors} descriptors are allowed: room for {connections} connections\n"
        ))?;
    }
    show::line("OFF UNLESS SET:")?;
    let row = |setting: Setting| vec![setting.flag.to_owned(), setting.env, setting.about];
    show::table(&["flag", "variable", "what it bounds"], unset(&serve).map(row))
}

fn document(serve: &Command) -> Json {
    let row = |part: &'static str, limit: &Limit| {
        let value = match (limit.value)() {
            Value::Number(number) => json!(number as i64),
            Value::Millis(ms) => json!(ms as u64),
            Value::Range(from, to) => json!([from, to]),
        };
        let setting = limit.set.and_then(|flag| setting(serve, flag));
        json!({
            "part": part,
            "name": limit.name,
            "default": value,
            "unit": limit.unit(),
            "flag": setting.as_ref().map(|setting| setting.flag),
            "env": setting.as_ref().map(|setting| &setting.env),
            "about": limit.about(),
            "tests": limit.tests,
            "inner": limit.inner,
        })
    };
    let rows = TABLES.iter().flat_map(|(part, limits)| limits.iter().map(|limit| row(part, limit)));
    let rows: Vec<Json> = rows.collect();
    let unset: Vec<Json> = unset(serve)
        .map(|setting| json!({ "flag": setting.flag, "env": setting.env, "about": setting.about }))
        .collect();
    let here = here()
        .map(|(descriptors, connections)| json!({ "descriptors": descriptors, "connections": connections }));
    json!({ "limits": rows, "off_unless_set": unset, "here": here })
}

/// The tables as `docs/limits.md` has them.
pub fn markdown() -> String {
    let serve = serve();
    let mut page = String::from(
        "# Limits\n\nEverything that somebody else can make grow has a ceiling. `cairn limits` prints this page, \
         `cairn limits --json` for programs. What is reached is told by name and number; what is fixed changes with \
         the program alone. The last column names the tests that try a limit and one past it, or says why there is no \
         edge that anybody meets.\n",
    );
    let titles: [&str; TABLES.len()] = [
        "The server",
        "What the server does of itself",
        "Files of repositories",
        "The git protocol",
        "Packs",
        "Remotes that are imported from",
    ];
    for ((_, limits), title) in TABLES.iter().zip(titles) {
        page.push_str(&format!("\n## {title}\n\n{}", limit::markdown(limits, |limit| set_by(&serve, limit))));
    }
    page.push_str("\n## Off unless set\n\n| flag | variable | what it bounds |\n|---|---|---|\n");
    for Setting { flag, env, about } in unset(&serve) {
        page.push_str(&format!("| `{flag}` | `{env}` | {about} |\n"));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::{TABLES, UNSET, serve, setting};

    #[test]
    fn every_flag_that_a_limit_names_is_one_of_serve() {
        let serve = serve();
        let named = TABLES.iter().flat_map(|(_, limits)| limits.iter().filter_map(|limit| limit.set));
        for flag in named.chain(UNSET) {
            let setting = setting(&serve, flag);
            assert!(setting.is_some_and(|setting| setting.env.starts_with("CAIRN_")), "{flag}");
        }
    }

    #[test]
    fn what_a_flag_takes_where_nothing_is_said_is_the_limit() {
        let serve = serve();
        for limit in TABLES.iter().flat_map(|(_, limits)| *limits) {
            let Some(flag) = limit.set else { continue };
            let name = flag.trim_start_matches('-');
            let arg = serve.get_arguments().find(|arg| arg.get_long() == Some(name)).unwrap();
            let defaults: Vec<_> =
                arg.get_default_values().iter().map(|text| text.to_string_lossy()).collect();
            let cairn_protocol::limit::Value::Number(number) = (limit.value)() else { panic!("{flag}") };
            assert_eq!(defaults, [number.to_string()], "{flag}");
        }
    }
}
