//! `tunnelc`, with one more kind of plugin.

fn main() -> std::process::ExitCode {
    client::main_with(&plugin_agents::kinds())
}
