//! The program `tunnelc`.

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    client::main_with(&proxy::plugin::Kinds::built_in())
}
