"""How graphs and pipelines are coloured."""

from pygments.lexer import RegexLexer, words
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Text


class QirLexer(RegexLexer):
    """One notation, so one lexer for both."""

    name = "qir"
    aliases = ["qir", "pipe"]
    tokens = {
        "root": [
            (r"//[^\n]*", Comment.Single),
            (r"\s+", Text),
            (r'"(\\.|[^"\\])*"', String),
            (words(("func", "return", "pipeline", "loc"), suffix=r"\b"), Keyword),
            (r"[%#$@][\w.\-/]+", Name.Variable),
            (r"(i|u|f|bf)\d+\b|bool\b", Keyword.Type),
            (r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(?==)", Name.Attribute),
            (r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(?=\()", Name.Function),
            (r"-?\d+(\.\d+)?([eE][+-]?\d+)?", Number),
            (r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", Name),
            (r"->|[=:<>?/|&!-]", Operator),
            (r"[()\[\]{},@]", Punctuation),
        ]
    }
