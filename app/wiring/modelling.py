"""Which models there are, for a worker that asks them and for a door that shows them."""

from functools import cache

from app.adapters.http.model import OpenAIModel
from app.adapters.sql.profile_shelf import SqlProfileShelf
from app.domain.profiles import DEFAULT_PROFILE, Profile
from app.services.correct_estimates import Corrections
from app.services.keep_profiles import ProfileDesk
from app.services.know_profiles import KnownProfiles, Own
from app.settings import Settings
from app.wiring.process import Process
from app.wiring.vault import vault_of


def profile_desk_of(process: Process) -> ProfileDesk:
    """The profiles that are kept."""
    settings = process.settings
    return ProfileDesk(SqlProfileShelf(process.engine), vault_of(settings), settings.llm_allow_private)


@cache
def roster_of(process: Process) -> KnownProfiles:
    """The profiles that answer; one reading of them serves the whole process."""
    settings, desk = process.settings, profile_desk_of(process)
    own = Own(own_profile(settings), settings.sa01_env)
    return KnownProfiles(desk.shelf, desk.vault, own, process.clock)


@cache
def model_of(process: Process) -> OpenAIModel:
    """What asks them; whatever it learns of an endpoint serves the whole process."""
    return OpenAIModel.from_settings(process.settings)


@cache
def corrections_of(process: Process) -> Corrections:
    """What estimates of tokens are to be multiplied by."""
    return Corrections(process.spending.correction, process.clock)


def own_profile(settings: Settings) -> Profile | None:
    """The endpoint in `LLM_BASE_URL`."""
    if not settings.llm_base_url:
        return None
    return Profile(
        name=DEFAULT_PROFILE,
        base_url=settings.llm_base_url,
        path=settings.llm_path,
        model=settings.llm_model,
        key=settings.llm_api_key.get_secret_value(),
        temperature=settings.llm_temperature,
        context_tokens=settings.llm_context_tokens,
        output_tokens=settings.llm_max_output_tokens,
        is_toy=settings.llm_is_toy,
    )
