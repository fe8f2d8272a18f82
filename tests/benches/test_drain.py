from bench.drain import LOOK_S, _next_look_s


def test_it_is_looked_when_half_of_what_is_left_may_be_done() -> None:
    assert _next_look_s(20_000, 10_000, 1.0) == 0.5
    assert _next_look_s(20_000, 19_900, 1.0) == 1.0
    assert _next_look_s(20_000, 20_000, 0.001) == LOOK_S
    assert _next_look_s(20_000, 1, 2.0) == LOOK_S
