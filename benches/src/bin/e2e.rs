//! `make bench`: what the two programs move, and what it costs them.
//!
//! Processor time is that of both programs together, user and system, with the kernel's work for their
//! sockets; that of the load and of the services behind the tunnel is not in it. All of it shares the same
//! cores, so the cost per unit of work is the figure to keep, and rates are for comparing within one run.
#![expect(clippy::print_stdout, reason = "showing figures is what a bench does")]

use std::process::ExitCode;
use std::time::Duration;

use benches::bulk::{Way, bulk};
use benches::meter::Span;
use benches::requests::requests;

const USAGE: &str = "e2e [--secs N]   N: seconds of each of the five loads, 5 by default; fractions are fine";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let secs = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => Some(5.0),
        ["--secs", n] => n.parse().ok(),
        _ => None,
    };
    let Some(span) =
        secs.and_then(|secs| Duration::try_from_secs_f64(secs).ok()).filter(|span| !span.is_zero())
    else {
        println!("{USAGE}");
        return ExitCode::from(2);
    };
    println!(
        "End to end over loopback, {:.1} s each; CPU of tunneld and tunnelc together.\n",
        span.as_secs_f64()
    );

    println!("{:<26}{:>12}{:>14}   peak memory", "bulk TCP", "MB/s", "CPU s/GB");
    for (way, name) in [(Way::Up, "up"), (Way::Down, "down")] {
        for connections in [1, 8] {
            let seen = bulk(way, connections, span).await;
            println!(
                "{:<26}{:>12.0}{:>14.2}   {}",
                format!("  {name}, {connections} connection(s)"),
                seen.rate() / 1e6,
                seen.cost() * 1e9,
                memory(&seen)
            );
        }
    }
    println!("\n{:<26}{:>12}{:>14}   peak memory", "HTTP", "requests/s", "CPU us/req");
    let seen = requests(64, 1024, span).await;
    println!(
        "{:<26}{:>12.0}{:>14.1}   {}",
        "  1 KiB, 64 connections",
        seen.span.rate(),
        seen.span.cost() * 1e6,
        memory(&seen.span)
    );
    println!("  latency: median {:.2} ms, p99 {:.2} ms", millis(seen.median), millis(seen.p99));
    ExitCode::SUCCESS
}

fn memory(span: &Span) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    format!("tunneld {:.0} MiB, tunnelc {:.0} MiB", mib(span.server_memory), mib(span.client_memory))
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
