"""Which variables the programs get that are started: no secret that a program of others does not need."""

import pytest

from pcapdj.runtime.environment import foreign_environment, operator_environment, own_environment

SECRETS = [
    *("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "GITHUB_TOKEN", "PGPASSWORD", "MYSQL_PWD"),
    *("OPENAI_API_KEY", "APIKEY", "SSH_PRIVATE_KEY", "borg_passphrase", "GOOGLE_APPLICATION_CREDENTIALS"),
]
HARMLESS = [
    "PATH",
    "OLDPWD",
    "LANG",
    "TZ",
    "ZEEKPATH",
    "LD_LIBRARY_PATH",
    "HTTP_PROXY",
    "KEYBOARD",
    "SURICATA_RUN_DIR",
]
OF_REDIS = ["PCAPDJ_REDIS_URL", "REDISCLI_AUTH", "VALKEYCLI_AUTH", "SUPERVISOR_SERVER_URL", "SSH_AUTH_SOCK"]


@pytest.mark.parametrize("name", SECRETS)
def test_a_variable_whose_name_says_that_it_is_a_secret_stays_with_the_operator(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An analyzer does not get it; a command that the operator wrote may need it."""
    monkeypatch.setenv(name, "canary")

    assert name not in foreign_environment()
    assert operator_environment()[name] == "canary"


@pytest.mark.parametrize("name", HARMLESS)
def test_any_other_variable_is_passed_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Analyzers read settings from variables of their own."""
    monkeypatch.setenv(name, "/kept")

    assert foreign_environment()[name] == operator_environment()[name] == "/kept"


@pytest.mark.parametrize("name", OF_REDIS)
def test_no_program_gets_the_login_of_redis_or_an_agent(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor the way to supervisord, whoever wrote the program."""
    monkeypatch.setenv(name, "canary")

    for environment in (foreign_environment(), operator_environment(), own_environment()):
        assert name not in environment
