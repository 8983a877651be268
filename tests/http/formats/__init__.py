"""The five wire formats, seen from both ends and written from their documents alone.

Each format module has one class that can play the client (write a request, read the answer or the stream
strictly) and the upstream (read a request, write the answer or the stream). Nothing here comes from sluice:
these are the independent readers and writers that judge it.
"""
from .anthropic import Anthropic
from .chat import Chat
from .google import Google
from .ollama import Ollama
from .responses import Responses

FORMATS = {f.name: f for f in (Chat(), Responses(), Anthropic(), Google(), Ollama())}
