"""One tree of errors, drawn in the module's docstring."""

import inspect

from amtl import errors


def test_every_error_is_drawn_in_the_tree_and_is_caught_as_its_root():
    classes = [member for _, member in inspect.getmembers(errors, inspect.isclass)]
    assert len(classes) > 5
    for error in classes:
        assert issubclass(error, errors.AmtlError)
        assert error.__name__ in errors.__doc__
        assert error.__doc__


def test_damaged_data_and_bad_data_are_both_data_errors():
    assert issubclass(errors.ValidationError, errors.DataError)
    assert not issubclass(errors.ArtifactError, errors.DataError)
