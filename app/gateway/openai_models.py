"""`/v1/models`: which models there are, as clients of the OpenAI interface list them."""

from app.gateway import openai_door as door
from app.gateway.api import Answer, Area
from app.services.openai_refusal import Refused

openai_models = Area("openai models")


class Model(Answer):
    """One model, or the profile that stands for it; when it was made is not known."""

    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = "somaagent01"


class Models(Answer):
    """All of them."""

    object: str = "list"
    data: list[Model]


@openai_models.route(
    "GET", "/v1/models", "The models that can be asked for", answer=Models, errors=(503,), openai_errors=True
)
def list_models() -> Models:
    """Every name."""
    return Models(data=[Model(id=name) for name in sorted(door.models_known(door.default_tenant()))])


@openai_models.route("GET", "/v1/models/<path:model>", "One model", answer=Model, errors=(404, 503), openai_errors=True)
def get_model(model: str) -> Model:
    """One name."""
    if model not in door.models_known(door.default_tenant()):
        raise Refused(f"The model {model!r} does not exist.", "model", "model_not_found", 404)
    return Model(id=model)
