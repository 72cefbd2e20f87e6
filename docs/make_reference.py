"""Write docs/settings.md from the settings classes: python docs/make_settings.py"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from workflows.settings import SearchSettings, stage_types

HEAD = """\
# Settings

One name everywhere: `--path.images 9` on the command line, `path: {images: 9}` in the YAML file
of `--config`, `PathSettings(images=9)` from Python. This page is made by
`python docs/make_settings.py`.
"""


def main() -> None:
    """Write the page beside this file."""
    lines = [HEAD]
    for stage, kind in {"": SearchSettings, **stage_types()}.items():
        lines += [f"## {stage or 'search'}", "", (kind.__doc__ or "").splitlines()[0], ""]
        lines += ["| setting | default | meaning |", "| --- | --- | --- |"]
        prefix = f"{stage}." if stage else ""
        lines += [
            f"| `{prefix}{spec.name}` | `{spec.default}` | {spec.metadata['doc']} |"
            for spec in dataclasses.fields(kind)
            if "doc" in spec.metadata
        ]
        lines.append("")
    Path(__file__).with_name("settings.md").write_text("\n".join(lines), "utf-8")


if __name__ == "__main__":
    main()
