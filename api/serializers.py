"""The base of the API's serializers."""

from typing import Any

from rest_framework import serializers

# What is serialized is a mapping, whose fields the serializer itself describes.
Serializer = serializers.Serializer[Any]
