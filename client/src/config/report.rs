//! Problems, drawn for people: file, line, column, the line itself.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::problem::Problem;

/// Draws all problems of the file `path` with this `source`, in the order of the file.
pub(super) fn draw(path: &str, source: &str, problems: &[Problem], colour: bool) -> String {
    let mut problems: Vec<&Problem> = problems.iter().collect();
    problems.sort_by_key(|problem| (problem.span.start, problem.span.end));
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let drawn = problems.iter().map(|problem| {
        let mark = AnnotationKind::Primary.span(problem.span.clone());
        let snippet = Snippet::source(source).path(path).annotation(mark);
        let mut group = Group::with_title(Level::ERROR.primary_title(&problem.message)).element(snippet);
        if let Some(help) = &problem.help {
            group = group.element(Level::HELP.message(help));
        }
        renderer.render(&[group])
    });
    drawn.collect::<Vec<_>>().join("\n\n")
}
