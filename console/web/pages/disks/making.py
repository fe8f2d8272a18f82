"""A new, empty disk."""

import uuid

import htpy as h
from pydantic import BaseModel, ConfigDict

from pgfleet.console.web.look.buttons import ACTIONS, ASKED_AT, BACK, DONE, ONCE
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.console.web.pages.disks.asking import FOLLOWED
from pgfleet.schema.disk import DEFAULT_SIZE_GB, DISK_NAME


class Wish(BaseModel):
    """What was typed, where it was refused and is to be mended."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    disk_name: str | None = None
    size_gb: str | None = None
    user_id: str | None = None


def new_disk(view: View) -> Screen:
    wish = view.call.asked(Wish)
    form = h.form(".card", method="post", action=f"{ACTIONS}/create_disk")[
        h.input(type="hidden", name=ONCE, value=str(uuid.uuid4())),
        h.input(type="hidden", name=BACK, value=FOLLOWED),
        h.input(type="hidden", name=ASKED_AT, value=view.address),
        h.input(type="hidden", name=DONE, value="Asked for: this page shows what becomes of it."),
        h.label[
            "Name: letters, digits, - and _",
            h.input(
                name="disk_name",
                value=wish.disk_name or "",
                required=True,
                maxlength="255",
                pattern=DISK_NAME[1:-1],
                autocomplete="off",
            ),
        ],
        h.label[
            "Size (GB)",
            h.input(
                name="size_gb", type="number", min="10", max="10000", value=wish.size_gb or str(DEFAULT_SIZE_GB),
                required=True,
            ),
        ],
        view.sees_all("disks.write")
        and h.label["For whom", h.input(name="user_id", value=wish.user_id or "", placeholder=view.username)],
        h.p(".dim")["Reserve GPUs with it, and what is in /home stays from one reservation to the next."],
        h.button(".button.main")["Make it"],
    ]  # fmt: skip
    return Screen("New disk", [Part("form", form, is_live=False)])


PAGES = (Page("/new-disk", "New disk", "disks.write", new_disk, asks=Wish, under="/disks"),)
