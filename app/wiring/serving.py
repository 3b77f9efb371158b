"""What a process that serves people needs: the gateway, and the page's server while the gateway is away."""

from functools import cached_property

from app.adapters.http.brain import HttpBrain
from app.adapters.local_audience import LocalAudience
from app.adapters.local_rate_limit import LocalRateLimiter
from app.adapters.model_trial import TrialProcesses
from app.adapters.redis.audience import RedisAudience
from app.adapters.redis.connection import ping
from app.adapters.redis.live import RedisFeed
from app.adapters.redis.rate_limit import RedisRateLimiter
from app.adapters.sql.archives import SqlArchives
from app.adapters.sql.browse import SqlBrowser
from app.adapters.sql.budgets import SqlBudgetDesk
from app.adapters.sql.dead_letters import SqlDeadLetters
from app.adapters.sql.desk import SqlWorkDesk
from app.adapters.sql.export_desk import SqlExportDesk
from app.adapters.sql.export_stream import SqlExportStream
from app.adapters.sql.inbox import SqlInbox
from app.adapters.sql.ledger import SqlLedger
from app.adapters.sql.patience import SERVING
from app.adapters.sql.proofs import SqlProofs
from app.adapters.sql.rebuild_jobs import SqlRebuildDesk
from app.adapters.sql.schedules import SqlScheduleDesk
from app.adapters.sql.sessions import SqlSessions
from app.adapters.sql.stream_store import SqlStreamStore
from app.adapters.sql.tool_requests import SqlToolRequests
from app.adapters.sql.transcripts import SqlTranscripts
from app.adapters.sql.turn_book import SqlTurnBook
from app.adapters.sql.turn_control import SqlTurnControl
from app.adapters.sql.utterances import SqlUtterances
from app.adapters.sql.webhooks import SqlWebhookDesk
from app.crash_points import CrashStep
from app.domain.audience import Audience
from app.domain.policy import Policy
from app.domain.rate_limit import RateLimiter
from app.domain.tools import Toolbox
from app.routing import dead_letter_topic
from app.services.accept_message import Reception
from app.services.cancel_turn import ControlRoom
from app.services.export_memory import Exporting
from app.services.follow_answer import AnswerRoom
from app.services.follow_session import StreamRoom
from app.services.keep_memories import MemoryDoor
from app.services.keep_profiles import ProfileDesk
from app.services.know_profiles import KnownProfiles
from app.services.prepare_turn import Preparation
from app.services.recall_memories import Recall
from app.services.replay_dead_letters import LetterDesk
from app.services.request_tool import ToolCounter
from app.services.tend_session import SessionDesk
from app.services.tend_work import Tending
from app.settings import Settings
from app.wiring.crashing import ends_after
from app.wiring.deciding import policy_of
from app.wiring.exporting import export_engine
from app.wiring.modelling import profile_desk_of, roster_of
from app.wiring.preparing import preparation_of
from app.wiring.process import Process
from app.wiring.remembering import ledger_of, memory_plane_of, recall_of
from app.wiring.tooling import toolbox_of
from app.wiring.vault import vault_of

ATTEMPT_SECONDS = 1.5
"""What a request spends on SomaBrain at most, so that its answer comes within two seconds whatever SomaBrain does."""


class Serving(Process):
    """A process with doors to people."""

    patience = SERVING

    def __init__(self, settings: Settings, pool_size: int = 20) -> None:
        super().__init__(settings, pool_size)

    @cached_property
    def reception(self) -> Reception:
        """What accepting messages needs."""
        inbox = SqlInbox(self.engine, self.memory_defaults)
        inbox = ends_after(inbox, CrashStep.ACCEPT_COMMIT, self.settings, "accept")
        return Reception(inbox, self.doorbell, self.broadcast)

    @cached_property
    def control_room(self) -> ControlRoom:
        """What stopping turns needs."""
        return ControlRoom(SqlTurnControl(self.engine), self.broadcast)

    @cached_property
    def archives(self) -> SqlArchives:
        """Sessions as documents."""
        return SqlArchives(self.engine)

    @cached_property
    def session_desk(self) -> SessionDesk:
        """What tending sessions needs."""
        return SessionDesk(SqlSessions(self.engine), self.doorbell, self.broadcast)

    @cached_property
    def preparation(self) -> Preparation:
        """What showing a context window needs."""
        return preparation_of(self)

    @cached_property
    def stream_room(self) -> StreamRoom:
        """What following sessions needs; one Redis subscription for all readers of this process."""
        feed = RedisFeed(self.settings.redis_url.get_secret_value())
        return StreamRoom(SqlStreamStore(self.engine), feed, self.clock)

    @cached_property
    def answer_room(self) -> AnswerRoom:
        """What waiting for answers needs."""
        return AnswerRoom(SqlTurnBook(self.engine), self.stream_room)

    @cached_property
    def transcripts(self) -> SqlTranscripts:
        """What was said in sessions."""
        return SqlTranscripts(self.engine)

    @cached_property
    def audience(self) -> Audience:
        """Counts readers, over all processes while Redis is there."""
        return RedisAudience(self.settings.redis_url.get_secret_value(), LocalAudience(), self.clock)

    @cached_property
    def browser(self) -> SqlBrowser:
        """Lists for people."""
        return SqlBrowser(self.engine)

    @cached_property
    def utterances(self) -> SqlUtterances:
        """What was said, found by its words."""
        return SqlUtterances(self.engine)

    @cached_property
    def limiter(self) -> RateLimiter:
        """Counts what callers ask for, over all processes while Redis is there."""
        local = LocalRateLimiter(self.clock)
        return RedisRateLimiter(self.settings.redis_url.get_secret_value(), local, self.clock)

    @cached_property
    def exporting(self) -> Exporting:
        """What streaming an export needs; with room for those who are told that no slot is free."""
        at_once = self.settings.gateway_export_concurrency
        engine = export_engine(self, at_once + 2)
        stream = SqlExportStream(engine, at_once, self.settings.memory_export_page_size)
        return Exporting(stream, self.clock, self.settings.memory_export_max_rows)

    @cached_property
    def export_desk(self) -> SqlExportDesk:
        """Export jobs."""
        return SqlExportDesk(self.engine, self.settings.memory_export_max_bytes)

    @cached_property
    def schedule_desk(self) -> SqlScheduleDesk:
        """Schedules."""
        return SqlScheduleDesk(self.engine)

    @cached_property
    def webhook_desk(self) -> SqlWebhookDesk:
        """Webhooks."""
        return SqlWebhookDesk(self.engine, vault_of(self.settings))

    @cached_property
    def letter_desk(self) -> LetterDesk:
        """What dealing with dead letters needs."""
        own_topic = dead_letter_topic(self.settings.memory_wal_topic)
        return LetterDesk(SqlDeadLetters(self.engine), self.doorbell, self.clock, own_topic)

    @cached_property
    def rebuild_desk(self) -> SqlRebuildDesk:
        """Rebuilds of the replica and of a SomaBrain."""
        return SqlRebuildDesk(self.engine)

    @cached_property
    def tending(self) -> Tending:
        """What tending owed and dead work needs."""
        return Tending(SqlWorkDesk(self.engine), self.doorbell)

    @cached_property
    def toolbox(self) -> Toolbox:
        """Every tool that can be asked for."""
        return toolbox_of(self.settings)

    @cached_property
    def policy(self) -> Policy:
        """Who decides what is allowed."""
        return policy_of(self.settings, self.clock)

    @cached_property
    def tool_counter(self) -> ToolCounter:
        """What accepting tool calls needs."""
        return ToolCounter(SqlToolRequests(self.engine), self.doorbell, self.broadcast, self.policy)

    @cached_property
    def brain(self) -> HttpBrain:
        """SomaBrain, for people who wait."""
        return HttpBrain.from_settings(self.settings, most_seconds=ATTEMPT_SECONDS)

    @cached_property
    def ledger(self) -> SqlLedger:
        """Every memory that was ever accepted."""
        return ends_after(ledger_of(self), CrashStep.ACCEPT_COMMIT, self.settings, "accept")

    @cached_property
    def memory_door(self) -> MemoryDoor:
        """What keeping and forgetting memories needs."""
        return MemoryDoor(self.ledger, memory_plane_of(self, self.brain, ATTEMPT_SECONDS))

    @cached_property
    def recall(self) -> Recall:
        """What recalling needs."""
        return recall_of(self, self.brain, self.settings.soma_recall_seconds)

    @cached_property
    def proofs(self) -> SqlProofs:
        """Proofs that nothing is missing."""
        return SqlProofs(self.engine)

    @cached_property
    def budget_desk(self) -> SqlBudgetDesk:
        """Budgets and what was spent."""
        return SqlBudgetDesk(self.engine, self.settings.budget_limit_tokens or None)

    @cached_property
    def profile_desk(self) -> ProfileDesk:
        """Model profiles."""
        return profile_desk_of(self)

    @cached_property
    def trials(self) -> TrialProcesses:
        """Tries models, each in a process of its own."""
        return TrialProcesses(self.settings.llm_allow_private)

    @cached_property
    def roster(self) -> KnownProfiles:
        """Which models answer."""
        return roster_of(self)

    def redis_answers(self) -> bool:
        """Whether Redis answers, within a second."""
        return ping(self.settings.redis_url.get_secret_value())
