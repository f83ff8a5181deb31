"""The help of a command: its text in whole paragraphs, its examples below, one left edge for both."""

from dmt.cli.examples import add_examples


def test_paragraphs_are_lines_and_examples_stay_as_they_are() -> None:
    def command() -> None:
        """Do one thing.

        It has a second paragraph that
        goes on in another line.
        """

    add_examples(command, "Examples:\n\n  dmt one\n")
    assert command.__doc__ == (
        "Do one thing.\n\nIt has a second paragraph that goes on in another line.\n\nExamples:\n\n  dmt one\n"
    )
