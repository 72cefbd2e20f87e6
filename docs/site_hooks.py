"""What MkDocs does beside its own: the home page from README.md, and links to the repository.

The pages are read on GitHub too, where links to files outside docs/ work. The site has no such
files, so there their paths are printed instead.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).parents[1]
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Adds the home page."""
    files.append(File.generated(config, "index.md", abs_src_path=str(REPOSITORY / "README.md")))
    return files


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """Replaces links to what the site does not have by the path."""
    home = page.file.src_uri == "index.md"
    folder = "" if home else posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def replaced(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        path = posixpath.normpath(posixpath.join(folder, target))
        if not (REPOSITORY / path).exists():
            raise PluginError(f"{page.file.src_uri} links to {target}, which does not exist")
        if path.startswith("docs/"):
            return f"[{text}]({path.removeprefix('docs/')}{anchor})" if home else match[0]
        return f"`{path}`" if path.endswith(text.strip("`")) else f"{text} (`{path}`)"

    return LINK.sub(replaced, markdown)
