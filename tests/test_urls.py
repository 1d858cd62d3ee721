"""No credential of a URL is shown, whatever its place in it."""

import pickle

import pytest
from sqlalchemy import make_url

from sdperf.errors import ConfigurationError
from sdperf.store.history.database import open_database
from sdperf.tune.study.storage import show_url
from sdperf.urls import mask_credentials, mask_url

SECRET = "S3cr3t"

URLS = [
    f"postgresql://u:{SECRET}@host/db",
    f"postgresql://host/db?user=u&password={SECRET}",
    f"postgresql://host:5432/db?user=me@x&password={SECRET}",
    f"postgresql://host/db?password=a@{SECRET}",
    f"postgresql://host/db?passfile=/home/u/{SECRET}&sslpassword={SECRET}",
    f"postgresql+psycopg://host/db?pass%77ord={SECRET}",
    f"postgresql://host/db?sslmode=require;sslkey={SECRET}",
    f"postgresql://u:p/{SECRET}@host/db",
    f"https://{SECRET}@github.com/x/y.git",
    f"git+https://{SECRET}@github.com/x/y.git",
    f"tls://u:{SECRET}@host:8786",
    f"https://host/x?X-Amz-Signature={SECRET}",
]


@pytest.mark.parametrize("url", URLS)
def test_a_url_is_shown_without_its_credentials(url):
    assert SECRET not in mask_url(url)
    assert SECRET not in mask_credentials(f"cannot reach '{url}', nor {url}; do: ask")
    error = ConfigurationError("the URL cannot be used", got=url, hint=f"try {url}")
    assert SECRET not in str(error)
    assert SECRET not in str(pickle.loads(pickle.dumps(error)))


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///.sdperf/history.db",
        "postgresql://user@host/db?sslmode=require&connect_timeout=3",
        "https://github.com/x/y/issues/3",
        "ssh://git@github.com/x/y",
        "tcp://host:8786",
    ],
)
def test_a_url_without_credentials_is_shown_whole(url):
    assert mask_url(url) == url
    assert mask_credentials(f"got: {url}; do: ask") == f"got: {url}; do: ask"


def test_a_connection_string_of_libpq_is_masked_too():
    assert SECRET not in mask_credentials(f"invalid dsn: host=x password='{SECRET} x' user=u")


def test_the_history_and_the_study_show_no_password():
    url = f"postgresql://127.0.0.1:1/db?user=u&password={SECRET}&connect_timeout=1"
    assert SECRET not in show_url(make_url(url))
    with pytest.raises(Exception, match=r"127\.0\.0\.1") as caught:
        open_database(url, create=False)
    assert SECRET not in str(caught.value)


def test_a_long_text_takes_no_longer_than_its_length():
    for text in ("a" * 10**6, "://" * 10**5, "password=" * 10**5, "@" * 10**6, "?&" * 10**5):
        mask_credentials(text)
