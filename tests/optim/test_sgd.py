"""SGD against torch.optim.SGD, step by step."""

from pathlib import Path

import keras
import numpy as np
import pytest
from tiny import gradients_of, variables_of

from keras_wrn.catalog import WideResNet
from keras_wrn.training import SGD, Muon, OneCycle

SHAPES = {"conv1/kernel": (3, 3, 4, 8), "bn1/gamma": (8,), "bn1/beta": (8,), "fc/kernel": (8, 5)}
STEPS = 20
RATES = [0.1] * 8 + [0.02] * 12


def make_variables():
    return variables_of(SHAPES)


def gradients(step):
    return gradients_of(SHAPES, 100 + step)


def follow_keras(optimizer, rates=None, steps=STEPS):
    """The variables after every step; the rates are set from outside unless None."""
    variables = make_variables()
    history = []
    for step in range(steps):
        if rates is not None:
            optimizer.learning_rate = rates[step]
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients(step)], variables)
        history.append([variable.numpy() for variable in variables])
    return history


def follow_torch(rates=RATES, clear_at=(), factors=(1, 1, 1, 1), decay_vectors=True, **options):
    import torch

    options = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4, **options}
    parameters = [torch.nn.Parameter(torch.from_numpy(v.numpy().copy())) for v in make_variables()]
    history = []
    for step, rate in enumerate(rates):
        if step == 0 or step in clear_at:
            groups = [
                {"params": [p], **({} if decay_vectors or p.ndim > 1 else {"weight_decay": 0.0})}
                for p in parameters
            ]
            optimizer = torch.optim.SGD(groups, lr=rate, **options)
        for group, factor in zip(optimizer.param_groups, factors, strict=True):
            group["lr"] = rate * factor
        for parameter, gradient in zip(parameters, gradients(step), strict=True):
            parameter.grad = torch.from_numpy(gradient)
        optimizer.step()
        history.append([parameter.detach().numpy().copy() for parameter in parameters])
    return history


def difference(a, b):
    """The largest difference over all steps and variables."""
    return max(
        np.abs(x - y).max()
        for at, bt in zip(a, b, strict=True)
        for x, y in zip(at, bt, strict=True)
    )


@pytest.mark.extra("torch")
@pytest.mark.parametrize(
    "options",
    [{}, {"nesterov": False}, {"weight_decay": 0.0}, {"momentum": 0.5}, {"momentum": 0.0}],
    ids=str,
)
def test_twenty_steps_with_a_drop_follow_torch(options):
    # Torch has no Nesterov without a momentum; neither matters then.
    torch_options = {**options, "nesterov": False} if options.get("momentum") == 0 else options
    expected = follow_torch(**torch_options)
    assert difference(follow_keras(SGD(**options), RATES), expected) <= 1e-6


@pytest.mark.extra("torch")
def test_what_tells_it_from_keras_own_sgd():
    expected = follow_torch()
    own = keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    assert difference(follow_keras(own, RATES), expected) > 1e-3


@pytest.mark.extra("torch")
def test_vectors_can_be_left_out_of_the_decay():
    optimizer = SGD(weight_decay=0.1, decay_norm_and_bias=False)
    found = follow_keras(optimizer, RATES)
    expected = follow_torch(weight_decay=0.1, decay_vectors=False)
    assert difference(found, expected) <= 1e-6
    assert difference(found, follow_torch(weight_decay=0.1)) > 1e-2


@pytest.mark.extra("torch")
def test_a_drop_clears_the_momentum_on_demand():
    found = follow_keras(SGD(reset_momentum_on_drop=True), RATES)
    assert difference(found, follow_torch(clear_at=[8])) <= 1e-6
    # The step before the drop does not differ, the step of the drop does.
    kept = follow_torch()
    assert difference(found[:8], kept[:8]) <= 1e-6
    assert difference(found[8:9], kept[8:9]) > 1e-3


@pytest.mark.extra("torch")
@pytest.mark.parametrize("drops", [(5, 11, 16), (2, 19)])
def test_a_step_schedule_clears_at_each_of_its_drops(drops):
    rates = [0.1 * 0.2 ** sum(step >= drop for drop in drops) for step in range(STEPS)]
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [drop - 1 for drop in drops], [0.1 * 0.2**i for i in range(len(drops) + 1)]
    )
    found = follow_keras(SGD(schedule, reset_momentum_on_drop=True))
    assert difference(found, follow_torch(rates, clear_at=drops)) <= 1e-6


@pytest.mark.extra("torch")
def test_a_slight_fall_or_a_rise_of_a_constant_rate_is_no_drop():
    rates = [0.1] * 5 + [0.095] * 5 + [0.2] * 10
    found = follow_keras(SGD(reset_momentum_on_drop=True), rates)
    assert difference(found, follow_torch(rates)) <= 1e-6


# Near its end a smooth schedule falls by half or more in a step.
@pytest.mark.extra("torch")
@pytest.mark.parametrize(
    "schedule",
    [
        OneCycle(0.3, STEPS, 0.2),
        keras.optimizers.schedules.CosineDecay(0.1, STEPS),
        keras.optimizers.schedules.CosineDecay(0.0, 15, warmup_target=0.1, warmup_steps=5),
        keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.7),
    ],
    ids=lambda schedule: type(schedule).__name__,
)
def test_a_smooth_schedule_never_clears_the_momentum(schedule):
    rates = [float(schedule(step)) for step in range(STEPS)]
    found = follow_keras(SGD(schedule, reset_momentum_on_drop=True))
    assert difference(found, follow_torch(rates)) <= 1e-6


@pytest.mark.extra("torch")
def test_the_longest_prefix_of_a_layers_name_scales_its_rate():
    optimizer = SGD(lr_multipliers={"bn": 0.5, "bn1/beta": 0.0, "fc": 3.0})
    found = follow_keras(optimizer, RATES)
    assert difference(found, follow_torch(factors=(1, 0.5, 0, 3))) <= 1e-6
    assert np.array_equal(found[-1][2], make_variables()[2].numpy())


def test_a_variables_own_name_stands_for_all_that_no_prefix_does():
    optimizer = SGD(lr_multipliers={"beta": 0.25, "kernel": 2.0, "fc": 3.0})
    optimizer.build(make_variables())
    assert optimizer.multipliers == [2.0, 1.0, 0.25, 3.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"momentum": 1.0}, r"`momentum` should be in \[0, 1\). Received: momentum=1.0"),
        ({"momentum": -0.1}, "momentum=-0.1"),
        ({"weight_decay": -1e-4}, "`weight_decay` should be 0 or positive.*=-0.0001"),
        ({"weight_decay": None}, "weight_decay=None"),
        ({"weight_decay": float("nan")}, "weight_decay=nan"),
        ({"lr_multipliers": {"a": 1.0, "b": -1.0}}, "`lr_multipliers` should map.*'b': -1.0"),
        (
            {"reset_momentum_on_drop": True, "gradient_accumulation_steps": 2},
            "gradient_accumulation_steps=2",
        ),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SGD(**arguments)


@pytest.mark.parametrize("rate", [0.05, OneCycle(0.3, 100, 0.1)], ids=["number", "schedule"])
def test_the_configuration_makes_the_same_optimizer(rate):
    optimizer = SGD(
        rate,
        momentum=0.8,
        nesterov=False,
        weight_decay=0.01,
        decay_norm_and_bias=False,
        reset_momentum_on_drop=True,
        lr_multipliers={"bn": 0.5},
        clipnorm=1.0,
    )
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(copy) is SGD
    assert copy.get_config() == optimizer.get_config()
    assert difference(follow_keras(copy), follow_keras(optimizer)) == 0
    # The base class knows of no decay: its own would come on top.
    assert optimizer.get_config()["weight_decay"] == 0.01
    assert optimizer.weight_decay is None


@pytest.mark.extra("torch")
@pytest.mark.parametrize("reset", [False, True])
def test_a_real_network_trains_as_in_torch(reset, set_policy):
    import reference_torch as reference
    import tensorflow as tf
    import torch

    set_policy("float64")
    keras.utils.set_random_seed(0)
    model = WideResNet(10, 1, input_shape=(8, 8, 3), classifier_activation=None)
    network = reference.WideResNet(1, 1).double()
    reference.copy_weights(model, network)
    optimizer = SGD(0.1, reset_momentum_on_drop=reset)
    generator = np.random.default_rng(0)
    for step, rate in enumerate([0.1] * 4 + [0.02] * 4):
        images = generator.normal(size=(8, 8, 8, 3))
        labels = generator.integers(0, 10, 8)
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        optimizer.learning_rate = rate
        optimizer.apply(tape.gradient(loss, model.trainable_weights), model.trainable_weights)

        if step == 0 or (reset and step == 4):
            twin = torch.optim.SGD(
                network.parameters(), lr=rate, momentum=0.9, nesterov=True, weight_decay=5e-4
            )
        twin.param_groups[0]["lr"] = rate
        twin.zero_grad()
        torch.nn.functional.cross_entropy(
            network(reference.to_torch_images(images)), torch.from_numpy(labels)
        ).backward()
        twin.step()
    arrays = [variable.numpy() for variable in model.weights]
    errors = reference.weight_errors(model.weights, arrays, network.state_dict())
    # 1e-7 would do; a constant that is rounded to float32 on the way shows at 1e-8.
    assert max(errors.values()) <= 1e-10, errors


STEPS_ON_ANY_BACKEND = """
import sys
import keras, numpy as np
sys.path.insert(0, sys.argv[1])
import test_sgd
history = test_sgd.follow_keras(
    test_sgd.SGD(weight_decay=0.01, reset_momentum_on_drop=True), test_sgd.RATES)
np.savez(sys.argv[2], *history[-1])
"""


@pytest.mark.extra("jax")
def test_jax_takes_the_same_steps(run_python, tmp_path):
    here = Path(__file__).parent
    run_python(STEPS_ON_ANY_BACKEND, here, tmp_path / "jax.npz", KERAS_BACKEND="jax")
    optimizer = SGD(weight_decay=0.01, reset_momentum_on_drop=True)
    expected = follow_keras(optimizer, RATES)[-1]
    with np.load(tmp_path / "jax.npz") as found:
        assert difference([[found[f"arr_{i}"] for i in range(4)]], [expected]) <= 1e-6


def test_variables_excluded_the_keras_way_do_not_decay():
    def last(names):
        optimizer = SGD(0.1, weight_decay=0.3)
        optimizer.exclude_from_weight_decay(var_names=names)
        return follow_keras(optimizer)[-1]

    decayed, excluded = last([]), last(["gamma", "beta"])
    same = [np.array_equal(a, b) for a, b in zip(decayed, excluded, strict=True)]
    assert same == [True, False, False, True]
    by_switch = follow_keras(SGD(0.1, weight_decay=0.3, decay_norm_and_bias=False))[-1]
    assert all(np.array_equal(a, b) for a, b in zip(excluded, by_switch, strict=True))


def test_variables_excluded_too_late_are_refused():
    optimizer = SGD(0.1)
    optimizer.build(make_variables())
    with pytest.raises(ValueError, match="before the optimizer is built"):
        optimizer.exclude_from_weight_decay(var_names=["gamma"])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of TensorFlow's variables")
@pytest.mark.parametrize("make", [SGD, Muon])
def test_bare_variables_of_tensorflow_take_the_same_steps(make):
    import tensorflow as tf

    def steps(variables):
        optimizer = make(0.1, lr_multipliers={"bn1": 0.5})
        optimizer.exclude_from_weight_decay(var_names=["beta"])
        for step in range(3):
            pairs = zip(gradients(step), variables, strict=True)
            optimizer.apply_gradients([(tf.constant(g), v) for g, v in pairs])
        return [[np.asarray(keras.ops.convert_to_numpy(v)) for v in variables]]

    bare = [tf.Variable(v.numpy(), name=v.path) for v in make_variables()]
    assert difference(steps(bare), steps(make_variables())) <= 1e-7
    assert not np.array_equal(bare[0], make_variables()[0])


def test_a_multiplier_that_names_no_layer_is_an_error():
    with pytest.raises(
        ValueError, match=r"Received: \['grop1'\]; the trained variables are conv1/kernel"
    ):
        SGD(lr_multipliers={"bn": 0.5, "grop1": 0.1}).build(make_variables())


def test_a_number_at_the_end_of_a_prefix_is_whole():
    variables = [
        keras.Variable(np.ones(2, "float32"), name=f"stage3_block{i}_conv1") for i in (1, 12)
    ]
    optimizer = SGD(1.0, 0.0, False, 0.0, lr_multipliers={"stage3_block1": 0.5})
    optimizer.apply([np.ones(2, "float32")] * 2, variables)
    assert [float(variable[0]) for variable in variables] == [0.5, 0.0]


@pytest.mark.parametrize("multipliers", [{"a": float("inf")}, {"a": "0.1"}, ["a"], {"a": -1}])
def test_multipliers_that_are_none_are_refused(multipliers):
    with pytest.raises(ValueError, match="`lr_multipliers` should map prefixes"):
        SGD(lr_multipliers=multipliers)


def test_numpy_numbers_are_numbers():
    optimizer = SGD(lr_multipliers={"conv1": np.float32(0.5), "fc": np.int64(2)})
    assert optimizer.get_config()["lr_multipliers"] == {"conv1": 0.5, "fc": 2.0}
