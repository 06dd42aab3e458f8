//! Tables: aligned columns, a dim header, two spaces between.

use super::style::Style;

/// Rows of cells under a header.
#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: &[&'static str]) -> Self {
        Self {
            header: header.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The whole table, each line ended. The last column is not padded.
    pub(crate) fn render(&self, style: Style) -> String {
        let widths: Vec<usize> = (0..self.header.len())
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells
                    .map(|cell| cell.chars().count())
                    .fold(self.header[column].len(), usize::max)
            })
            .collect();
        let header: Vec<String> = self.header.iter().map(|&cell| cell.to_owned()).collect();
        let mut text = style.dim(line(&header, &widths)) + "\n";
        for row in &self.rows {
            text += &line(row, &widths);
            text.push('\n');
        }
        text
    }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        text += &format!("{cell:width$}  ");
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["App", "Version"]);
        table.row(vec!["sweep".to_owned(), "12".to_owned()]);
        table.row(vec!["π".to_owned(), "1".to_owned()]);
        assert_eq!(
            table.render(Style::PLAIN),
            "App    Version\nsweep  12\nπ      1\n"
        );
    }
}
