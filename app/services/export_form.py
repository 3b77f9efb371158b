"""An export job as callers write it: parsed once, its filters the same as the list's."""

import uuid
from typing import Annotated

from pydantic import ConfigDict, Field

from app.domain.exports import ExportRequest
from app.services.memory_filter_form import MemoryFilterForm


class ExportForm(MemoryFilterForm):
    """A job that exports memories; `gzip` compresses what it makes."""

    model_config = ConfigDict(title="ExportJobRequest", strict=True)

    limit_total: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    gzip: bool = False

    @property
    def tenant_named(self) -> str:
        """The tenant that the caller chose; empty where none was."""
        return self.tenant or ""


def job_in(form: ExportForm, default_tenant: str, max_rows: int, traceparent: str | None) -> ExportRequest:
    """The job under a new id; without a tenant's name it belongs to the default one, and exports every tenant's."""
    limit = min(form.limit_total or max_rows, max_rows)
    tenant = form.tenant_named or default_tenant
    return ExportRequest(str(uuid.uuid4()), tenant, form.filter(), limit, form.gzip, traceparent)
