"""The recipes: what to ask, how to read the answer. A new one is one file here and one prompt."""

from __future__ import annotations

from selfinstruct.errors import UsageError
from selfinstruct.recipes.alpaca import Alpaca
from selfinstruct.recipes.recipe import Ingredients, Recipe
from selfinstruct.recipes.translate import Translate

RECIPES: dict[str, type[Recipe]] = {"alpaca": Alpaca, "translate": Translate}


def get_recipe(name: str) -> type[Recipe]:
    """The recipe called `name`. Raises UsageError naming the known ones."""
    try:
        return RECIPES[name]
    except KeyError:
        known = ", ".join(sorted(RECIPES))
        raise UsageError(f"unknown recipe {name!r}; known: {known}") from None


def template_name(recipe: str, assets: str, *, structured: bool) -> str:
    """The path of a prompt template below the folder of its language."""
    return f"prompts/{recipe}/{assets}{'.json' if structured else ''}.txt"


__all__ = ["RECIPES", "Ingredients", "Recipe", "get_recipe", "template_name"]
