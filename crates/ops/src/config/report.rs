//! Problems, drawn for people: file, line, column, the line itself.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::problem::{Problem, Problems};

/// Draws all problems of the file `path` with this `source`, in their order.
pub(super) fn draw(path: &str, source: &str, problems: &Problems, colour: bool) -> String {
    let source = &shown(source, problems);
    let problems: &[Problem] = &problems.found;
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

/// The source with asterisks for what is hidden, byte for byte, so that every place stays where it is.
fn shown(source: &str, problems: &Problems) -> String {
    let mut shown = String::with_capacity(source.len());
    for (at, character) in source.char_indices() {
        let hidden = problems.hidden.iter().any(|span| span.contains(&at));
        match hidden && !character.is_whitespace() {
            true => (0..character.len_utf8()).for_each(|_| shown.push('*')),
            false => shown.push(character),
        }
    }
    shown
}

/// The line and the column of a byte, both from 1; columns are characters.
pub(super) fn place(source: &str, byte: usize) -> (usize, usize) {
    let before = source.get(..byte).unwrap_or(source);
    let line = before.matches('\n').count().saturating_add(1);
    let start = before.rfind('\n').map_or(0, |at| at.saturating_add(1));
    (line, before.get(start..).unwrap_or_default().chars().count().saturating_add(1))
}
