# One image for every process of ours: `docker-compose.yml` gives each its command, the same as app/routing.py names.
FROM python:3.11-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
COPY requirements-runtime.lock /tmp/
RUN /opt/venv/bin/pip install --require-hashes --only-binary :all: -r /tmp/requirements-runtime.lock

FROM python:3.11-slim-bookworm

LABEL org.opencontainers.image.title="SomaAgent01" \
      org.opencontainers.image.description="A self-hosted agent gateway whose memory cannot be lost" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin soma
COPY --from=build /opt/venv /opt/venv
WORKDIR /srv/soma
COPY alembic.ini celeryconfig.py LICENSE ./
COPY migrations migrations
COPY app app
COPY tasks tasks
COPY webui webui
COPY policy policy
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/srv/soma \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    BIND_HOST=0.0.0.0
USER 10001:10001
EXPOSE 20016
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=5 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:20016/readyz', timeout=4)"]
ENTRYPOINT ["python", "-m"]
CMD ["gunicorn", "--config", "python:app.gateway.server", "app.gateway.app:create_app()"]
