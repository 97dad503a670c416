import pytest

from logstore.config import StoreConfig
from logstore.errors import InvalidConfigError
from logstore_server.commands.serve_config import (
    as_toml,
    environment_name,
    server_config,
    setting_types,
)
from logstore_server.config import RpcConfig, ServerConfig


def test_flags_win_over_the_environment_that_over_the_file() -> None:
    toml = 'data_dir = "file"\nhost = "file"\n[rpc]\nport = 1\nstreams_max = 11\ncalls_max = 111'
    environment = {
        "LOGSTORE_HOST": "environment",
        "LOGSTORE_RPC_PORT": "2",
        "LOGSTORE_RPC_STREAMS_MAX": "22",
        "LOGSTORE_UNRELATED": "x",
    }
    assert server_config(
        flags={"rpc.port": "3"}, environment=environment, toml=toml
    ) == ServerConfig(
        "file", host="environment", rpc=RpcConfig(port=3, streams_max=22, calls_max=111)
    )


def test_settings_of_the_innermost_part() -> None:
    config = server_config(
        flags={"data_dir": "d"}, environment={"LOGSTORE_STORE_GROUP_MEMBERS_MAX": "5"}
    )
    assert config.store.group.members_max == 5


def test_defaults_are_those_of_the_classes() -> None:
    config = server_config(flags={"data_dir": "d"}, environment={})
    assert config == ServerConfig("d")
    assert config.store == StoreConfig()


def test_no_two_settings_share_a_name_in_the_environment() -> None:
    names = [environment_name(setting) for setting in setting_types()]
    assert len(set(names)) == len(names)
    assert not {"LOGSTORE_STORE", "LOGSTORE_SERVER", "LOGSTORE_CONFIG"} & set(names)


def test_the_printed_config_means_the_same() -> None:
    config = server_config(
        flags={"data_dir": 'a "b"\n\\c', "rpc.port": "0", "store.group.members_max": "7"},
        environment={},
    )
    assert server_config(flags={}, environment={}, toml=as_toml(config)) == config


@pytest.mark.parametrize(
    ("flags", "environment", "toml", "complaint"),
    [
        ({}, {}, "", "no data directory"),
        ({"rpc.stream_max": "1"}, {}, "", r"no setting 'rpc.stream_max'; is it rpc.streams_max"),
        ({"xyzzy": "1"}, {}, "", r"no setting 'xyzzy'$"),
        ({"rpc.port": "many"}, {}, "", "rpc.port='many' must be a whole number"),
        ({}, {"LOGSTORE_RPC_PORT": ""}, "", "LOGSTORE_RPC_PORT='' must be a whole number"),
        ({}, {}, "rpc.port = '7'", "rpc.port in the config file must be a whole number, not '7'"),
        ({}, {}, "rpc.port = true", "must be a whole number, not True"),
        ({}, {}, "rpc = 7", "no setting 'rpc'"),
        ({}, {}, "rpc.prot = 7", "is it rpc.port"),
        ({}, {}, "rpc.port = ", "not TOML"),
        ({"data_dir": "d", "rpc.port": "99999"}, {}, "", "port=99999 is not valid"),
    ],
)
def test_a_wrong_setting_is_named(
    flags: dict[str, str], environment: dict[str, str], toml: str, complaint: str
) -> None:
    with pytest.raises(InvalidConfigError, match=complaint):
        server_config(flags=flags, environment=environment, toml=toml)
