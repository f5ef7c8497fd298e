//! Tables for people.

/// So wide is a screen.
const WIDTH: usize = 100;
/// No column is made narrower.
const NARROW: usize = 12;
const GAP: &str = "  ";

/// Aligned columns, on a screen as far as that can be: what is too long is cut and ends in `…`; `--json` has it whole. Nothing
/// at all without a row.
pub(super) fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    if rows.len() == 1 {
        return String::new();
    }
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    narrow(&mut widths);
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| fitted(cell, width)).collect();
        text.push_str(cells.join(GAP).trim_end());
        text.push('\n');
    }
    text
}

/// Takes from the widest until all fit.
fn narrow(widths: &mut [usize]) {
    let gaps = GAP.len().saturating_mul(widths.len().saturating_sub(1));
    while widths.iter().sum::<usize>().saturating_add(gaps) > WIDTH {
        match widths.iter_mut().filter(|width| **width > NARROW).max() {
            Some(widest) => *widest = widest.saturating_sub(1),
            None => return,
        }
    }
}

fn fitted(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return format!("{cell:<width$}");
    }
    let kept: String = cell.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let rows = [["a".to_owned(), "long one".to_owned()], ["ää".to_owned(), "x".to_owned()]];
        assert_eq!(table(["A", "B"], rows.into_iter()), "A   B\na   long one\nää  x\n");
    }

    #[test]
    fn what_does_not_fit_on_a_screen_is_cut() {
        let rows = [["short".to_owned(), "ä".repeat(90), "y".repeat(60)]];
        let text = table(["A", "B", "C"], rows.into_iter());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1].chars().count(), WIDTH, "{text}");
        assert!(lines[1].starts_with("short  ää") && lines[1].ends_with("y…"), "{text}");
        let many = [std::array::from_fn::<_, 12, _>(|_| "z".repeat(20))];
        assert!(table(["X"; 12], many.into_iter()).lines().all(|line| line.chars().count() > WIDTH));
    }
}
