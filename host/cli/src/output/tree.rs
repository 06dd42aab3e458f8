//! A tree of short lines with grey guides.

use super::style::Style;

/// One line and what hangs below it.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    line: String,
    children: Vec<Tree>,
}

impl Tree {
    pub(crate) fn new(line: impl Into<String>) -> Self {
        Self {
            line: line.into(),
            children: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, child: impl Into<Tree>) -> &mut Self {
        self.children.push(child.into());
        self
    }

    /// All lines, without a final line break.
    pub(crate) fn render(&self, style: Style) -> String {
        let mut text = self.line.clone();
        self.render_children(&mut text, "", style);
        text
    }

    fn render_children(&self, text: &mut String, indent: &str, style: Style) {
        for (i, child) in self.children.iter().enumerate() {
            let last = i + 1 == self.children.len();
            let (branch, guide) = if last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            *text += &format!("\n{}{}", style.dim(format!("{indent}{branch}")), child.line);
            child.render_children(text, &format!("{indent}{guide}"), style);
        }
    }
}

impl<T: Into<String>> From<T> for Tree {
    fn from(line: T) -> Self {
        Self::new(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guides_follow_the_nesting() {
        let mut inner = Tree::new("b");
        inner.add("c");
        let mut tree = Tree::new("a");
        tree.add(inner).add("d");
        assert_eq!(tree.render(Style::PLAIN), "a\n├─ b\n│  └─ c\n└─ d");
    }
}
