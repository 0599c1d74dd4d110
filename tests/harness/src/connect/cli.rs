//! The command line of `./dev bench connect`.

use super::{branch::Way, report::markdown, run};
use crate::{Error, Result, local::signals};

/// How it is called.
pub const USAGE: &str = "usage: ./dev bench connect [--json] [--calls N] [--mode direct|relay|proxy]... [--write-docs]
  --json         one JSON object instead of tables
  --calls N      calls by each way (1000)
  --mode WAY     out of the branch by this way; more than once for several. Without: all of them in turn
  --write-docs   put the tables into docs/benchmarks.md";

/// What was asked for.
#[derive(Debug, PartialEq)]
struct Arguments {
    json: bool,
    write_docs: bool,
    calls: usize,
    ways: Vec<Way>,
}

/// Does what the arguments say. `machine` says where it is measured, `write` puts a table into docs/benchmarks.md.
///
/// # Errors
/// Wrong arguments; a way by which no call came up at all.
pub fn main(
    arguments: impl Iterator<Item = String>,
    machine: fn() -> Result<String>,
    write: fn(&str, &str, &str) -> Result<()>,
) -> Result<()> {
    let arguments = parse(arguments).ok_or_else(|| Error::Other(USAGE.into()))?;
    signals::catch()?;
    let figures = run::run(arguments.calls, &arguments.ways)?;
    let tables = markdown(&figures, &machine()?);
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&figures).map_err(Error::json("figures"))?);
    } else {
        println!("{tables}");
    }
    if arguments.write_docs { write("connect", "Connections that succeed", &tables) } else { Ok(()) }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut parsed = Arguments { json: false, write_docs: false, calls: 1000, ways: Vec::new() };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => parsed.json = true,
            "--write-docs" => parsed.write_docs = true,
            "--calls" => parsed.calls = arguments.next()?.parse().ok().filter(|calls| *calls > 0)?,
            "--mode" => {
                let name = arguments.next()?;
                parsed.ways.push(Way::ALL.into_iter().find(|way| way.name() == name)?);
            }
            _ => return None,
        }
    }
    if parsed.ways.is_empty() {
        parsed.ways = Way::ALL.to_vec();
    }
    Some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Arguments> {
        parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn without_a_mode_all_ways_are_taken() {
        let all = Arguments { json: true, write_docs: false, calls: 1000, ways: Way::ALL.to_vec() };
        assert_eq!(parsed("--json"), Some(all));
        let some = Arguments { json: false, write_docs: true, calls: 20, ways: vec![Way::Proxy, Way::Direct] };
        assert_eq!(parsed("--mode proxy --calls 20 --mode direct --write-docs"), Some(some));
        for wrong in ["--mode udp", "--calls 0", "--calls", "--all"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
