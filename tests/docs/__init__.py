import pytest

pytest.register_assert_rewrite("tests.docs.shell")  # its assertions say what they compared, as a test's do
