"""Names that a user's classes, methods and folders may have."""

NAMES = (
    r"$\frac$",
    "$",
    "from $5 to $6",
    r"\$ \| \\",
    "two\nlines",
    "tab\t, null \x00, escape \x1b[31m",
    "very long " * 40,
    "caf\udce9",  # a name in Latin-1, as Python reads it from a folder
    "\ud800",
    "\U0001f408",
    "\u732b",
    "\u202eevil",
    "a|b|c",
    "<script>alert('&')</script>",
    "_hidden",
    "[bold red]x[/]",
    ":warning:",
    "%s {x} {{ x }} {% x %}",
    "",
    "caf\u00e9",
    "salun+finetune",
)
