//! Tables that fit 100 columns.

use std::fmt;

use anstyle::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::DIM;

/// No line of a table is wider.
const WIDTH: usize = 100;

/// Between two columns.
const GAP: usize = 2;

/// A column is not made narrower than this to fit.
const NARROWEST: usize = 6;

/// To which side the cells of a column are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A text in a table.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// `text` in `style`.
    pub(crate) fn styled(style: Style, text: impl fmt::Display) -> Self {
        // A control character would move the cursor, and some texts are not ours.
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        Self {
            text: text.to_string().chars().map(clean).collect(),
            style,
        }
    }
}

impl<T: fmt::Display> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(Style::new(), text)
    }
}

/// Rows under a heading. Columns that are too wide together lose the ends of their texts, the
/// widest first.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    aligns: Vec<Align>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these columns.
    pub(crate) fn new(columns: &[(&str, Align)]) -> Self {
        Self {
            aligns: columns.iter().map(|(_, align)| *align).collect(),
            rows: vec![
                columns
                    .iter()
                    .map(|(name, _)| Cell::styled(DIM, name))
                    .collect(),
            ],
        }
    }

    /// Adds a row; a cell for each column.
    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        debug_assert_eq!(N, self.aligns.len());
        self.rows.push(cells.into());
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = (0..self.aligns.len())
            .map(|column| {
                let width = |row: &Vec<Cell>| row.get(column).map_or(0, |cell| cell.text.width());
                self.rows.iter().map(width).max().unwrap_or(0)
            })
            .collect();
        let gaps = GAP * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > WIDTH {
            match widths.iter_mut().max() {
                Some(widest) if *widest > NARROWEST => *widest -= 1,
                _ => break,
            }
        }
        widths
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for row in &self.rows {
            let last = row.len().saturating_sub(1);
            for (index, cell) in row.iter().enumerate() {
                let text = cut(&cell.text, widths[index]);
                let blanks = widths[index] - text.width();
                let (before, after) = match self.aligns[index] {
                    Align::Left if index == last => (0, 0),
                    Align::Left => (0, blanks + GAP),
                    Align::Right if index == last => (blanks, 0),
                    Align::Right => (blanks, GAP),
                };
                let style = cell.style;
                write!(f, "{:before$}{style}{text}{style:#}{:after$}", "", "")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// `text`, or as much of it as fits with `…` in the place of the rest.
fn cut(text: &str, width: usize) -> std::borrow::Cow<'_, str> {
    if text.width() <= width {
        return text.into();
    }
    let mut kept = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > width {
            break;
        }
        kept.push(c);
    }
    kept.push('…');
    kept.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(table: &Table) -> String {
        anstream::adapter::strip_str(&table.to_string()).to_string()
    }

    #[test]
    fn columns_are_aligned_and_no_line_ends_in_blanks() {
        let mut table = Table::new(&[
            ("NAME", Align::Left),
            ("N", Align::Right),
            ("URL", Align::Left),
        ]);
        table.row(["a".into(), 5.into(), "x".into()]);
        table.row(["größe".into(), 12.into(), "yy".into()]);
        assert_eq!(
            plain(&table),
            "NAME    N  URL\na       5  x\ngröße  12  yy\n"
        );
    }

    #[test]
    fn a_wide_table_fits_a_hundred_columns() {
        let mut table = Table::new(&[("A", Align::Left), ("B", Align::Left), ("C", Align::Right)]);
        table.row([
            "x".repeat(300).into(),
            "語".repeat(60).into(),
            "short".into(),
        ]);
        let text = plain(&table);
        for line in text.lines() {
            assert!(line.width() <= WIDTH, "{} in {line}", line.width());
        }
        assert!(text.contains('…') && text.contains("short"), "{text}");
    }

    #[test]
    fn a_text_cannot_move_the_cursor() {
        let mut table = Table::new(&[("A", Align::Left)]);
        table.row(["a\u{1b}[2J\nb".into()]);
        assert_eq!(table.to_string().lines().count(), 2);
    }
}
