import runpy
from pathlib import Path

from dmt.config import Config

DOCS = Path(__file__).parents[2] / "docs"


def test_page_is_in_step_with_the_config() -> None:
    expected = runpy.run_path(str(DOCS / "generate_config_reference.py"))["reference"]()
    found = (DOCS / "config.md").read_text(encoding="utf-8")
    assert found == expected, "run: python docs/generate_config_reference.py"


def test_every_key_is_there() -> None:
    page = (DOCS / "config.md").read_text(encoding="utf-8")
    config = Config(task="classification", data={"name": "digits"})  # type: ignore[arg-type]

    def keys(values: dict[str, object], prefix: str = "") -> list[tuple[str, str]]:
        found = []
        for key, value in values.items():
            found.append((prefix, key))
            if isinstance(value, dict) and key != "options":
                found += keys(value, f"{prefix}.{key}" if prefix else key)
        return found

    for section, key in keys(config.model_dump()):
        tables = page.split("\n## ")
        wanted = f"`{section}`" if section else "Top level"
        (table,) = (one for one in tables if wanted in one.splitlines()[0])
        assert f"| `{key}` |" in table, f"{section}.{key}"
