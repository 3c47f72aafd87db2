"""Recipes of the user's own, on the page: saved from what the form says now, and deleted again."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ...engine.errors import DreamArtistError, SettingError
from ...files.recipes import delete_recipe, own_names, save_recipe
from ..gradio_compat import NOTHING, on
from . import kinds
from .live_view import message_html
from .sentences import sentence

ANSWERED = "() => dreamartistAnswered()"


class RecipeActions:
    """What the buttons do, without gradio: what to say, and the list of recipes."""

    def __init__(self, actions: Any) -> None:
        self.actions = actions

    def save(self, title: str, kind: str, label: str, *options: Any) -> list[Any]:
        """What is not as usual for this kind, under a name; one that is there is changed only where it is chosen."""
        name = title.strip()
        try:
            if name in own_names() and kinds.recipe_named(label) != name:
                raise SettingError(f"there is a recipe {name} already; choose it first to change it.")
            values = self.actions.checked_values("x", "", options)
            hand = kinds.by_hand({key: values[key] for key in kinds.OPTION_NAMES}, self.actions.model, kind, "")
            save_recipe(name, hand)
        except DreamArtistError as error:
            return [message_html(sentence(error), "error"), NOTHING]
        says = f"{name} is among the recipes here, and for the command line."
        return [message_html(says, "good"), listed(name)]

    def delete(self, label: str) -> list[Any]:
        name = kinds.recipe_named(label)
        try:
            delete_recipe(name)
        except DreamArtistError as error:
            return [message_html(sentence(error), "error"), NOTHING]
        return [message_html(f"The recipe {name} is deleted; the form keeps its settings."), listed("")]


def listed(name: str) -> Any:
    """The list with this one chosen."""
    labels = kinds.recipe_labels()
    return gr.update(choices=list(labels.values()), value=labels[name])


def build_recipes(actions: Any, kind: Any, recipe: Any, options: list[Any]) -> None:
    """The row that saves and deletes."""
    do = RecipeActions(actions)
    with gr.Accordion("A recipe of your own", open=False, elem_id="dreamartist_own_recipes"):
        title = gr.Textbox(label="Its name", placeholder="my-style", max_lines=1, elem_id="dreamartist_recipe_title")
        with gr.Row(elem_classes=["dreamartist-row"]):
            save = gr.Button("Save these settings as a recipe", elem_id="dreamartist_recipe_save")
            delete = gr.Button("Delete the chosen recipe", elem_id="dreamartist_recipe_delete")
        says = gr.HTML(elem_id="dreamartist_own_recipe_says")
    on(save.click, do.save, [title, kind, recipe, *options], [says, recipe], then=ANSWERED, queue=False)
    on(delete.click, do.delete, [recipe], [says, recipe], then=ANSWERED, queue=False)
