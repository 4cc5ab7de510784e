"""A page as a tree of elements, and nested facts as leaves."""

from html.parser import HTMLParser


class Tree(HTMLParser):
    """Elements of a page with their text; every tag must be closed, in order."""

    VOID = {"meta", "img", "wbr", "br"}

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes)
        element = {"tag": tag, "text": "", **dict(attributes)}
        self.elements.append(element)
        if tag not in self.VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, *tags):
        return [one for one in self.elements if one["tag"] in tags]

    def text(self):
        return " ".join(self.all("body")[0]["text"].split())


def leaves(value, path=()):
    """`(path, value)` of everything in nested dicts and lists, the keys as well."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in items:
        yield (*path, key), one
        if isinstance(one, (dict, list)):
            yield from leaves(one, (*path, key))
