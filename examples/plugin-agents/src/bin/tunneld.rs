//! `tunneld`, with one more kind of plugin.

fn main() -> std::process::ExitCode {
    server::main_with(&plugin_agents::kinds())
}
