"""Tests against real services that the tests start themselves."""
