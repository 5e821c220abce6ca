"""What the tests share: servers, upstreams, commands, requests."""
