"""Names that are known without a look-up: hosted services with their operators, names of this box and site.

The list need not be whole: a name that is missing here is looked up, and its address tells the same. It
saves a look-up that would itself go to the internet, and it names who receives the pictures.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operator:
    """Who receives what is sent to a hosted service, and in which country, as far as that is public."""

    name: str
    country: str = "unknown"

    def __str__(self) -> str:
        return f"{self.name}, country {self.country}" if self.country == "unknown" else self._known()

    def _known(self) -> str:
        return f"{self.name}, {self.country}"


_US, _CHINA, _SINGAPORE = "United States", "China", "Singapore"
_ALIBABA, _AMAZON, _GOOGLE, _MICROSOFT = "Alibaba Cloud", "Amazon Web Services", "Google", "Microsoft"

_SERVICES: dict[str, Operator] = {
    # models
    "moonshot.ai": Operator("Moonshot AI", _SINGAPORE),
    "moonshot.cn": Operator("Moonshot AI", _CHINA),
    "kimi.com": Operator("Moonshot AI"),
    "dashscope.aliyuncs.com": Operator(_ALIBABA, _CHINA),
    "dashscope-intl.aliyuncs.com": Operator(_ALIBABA, _SINGAPORE),
    "dashscope-us.aliyuncs.com": Operator(_ALIBABA, _US),
    "aliyuncs.com": Operator(_ALIBABA),
    "openrouter.ai": Operator("OpenRouter, and the provider that it chooses"),
    "openai.com": Operator("OpenAI", _US),
    "anthropic.com": Operator("Anthropic", _US),
    "googleapis.com": Operator(_GOOGLE),
    "google.com": Operator(_GOOGLE),
    "azure.com": Operator(_MICROSOFT),
    "amazonaws.com": Operator(_AMAZON),
    "roboflow.com": Operator("Roboflow", _US),
    "huggingface.co": Operator("Hugging Face"),
    "hf.space": Operator("Hugging Face"),
    "ollama.com": Operator("Ollama", _US),
    "mistral.ai": Operator("Mistral AI", "France"),
    "groq.com": Operator("Groq", _US),
    "together.ai": Operator("Together AI", _US),
    "together.xyz": Operator("Together AI", _US),
    "fireworks.ai": Operator("Fireworks AI", _US),
    "deepinfra.com": Operator("DeepInfra", _US),
    "deepseek.com": Operator("DeepSeek", _CHINA),
    "x.ai": Operator("xAI", _US),
    "nvidia.com": Operator("NVIDIA", _US),
    "replicate.com": Operator("Replicate", _US),
    "perplexity.ai": Operator("Perplexity", _US),
    "cohere.com": Operator("Cohere"),
    "siliconflow.cn": Operator("SiliconFlow", _CHINA),
    "siliconflow.com": Operator("SiliconFlow"),
    "bigmodel.cn": Operator("Zhipu AI", _CHINA),
    "z.ai": Operator("Zhipu AI"),
    "volces.com": Operator("ByteDance", _CHINA),
    "novita.ai": Operator("Novita AI"),
    # brokers, mail, messengers, files
    "hivemq.cloud": Operator("HiveMQ"),
    "hivemq.com": Operator("HiveMQ"),
    "emqx.io": Operator("EMQ"),
    "emqxsl.com": Operator("EMQ"),
    "mosquitto.org": Operator("the Eclipse Foundation's test broker"),
    "azure-devices.net": Operator(_MICROSOFT),
    "office365.com": Operator(_MICROSOFT),
    "office.com": Operator(_MICROSOFT),
    "microsoft.com": Operator(_MICROSOFT),
    "gmail.com": Operator(_GOOGLE),
    "sendgrid.net": Operator("Twilio", _US),
    "twilio.com": Operator("Twilio", _US),
    "slack.com": Operator("Slack", _US),
    "discord.com": Operator("Discord", _US),
    "telegram.org": Operator("Telegram"),
    "pushover.net": Operator("Pushover", _US),
    "ntfy.sh": Operator("ntfy.sh"),
    "ifttt.com": Operator("IFTTT", _US),
    "ngrok.io": Operator("ngrok, and whoever stands behind it"),
    "ngrok.app": Operator("ngrok, and whoever stands behind it"),
    "trycloudflare.com": Operator("Cloudflare, and whoever stands behind it"),
}
"""The name and all below it; the longest match counts."""

_METADATA_NAMES = frozenset(
    {
        "metadata.google.internal",
        "metadata.goog",
        "metadata.azure.internal",
        "metadata.tencentyun.com",
        "instance-data.ec2.internal",
        "instance-data",
    }
)
_SITE_SUFFIXES = (".local", ".home.arpa", ".internal")


def operator_of(name: str) -> Operator | None:
    """Return who runs the hosted service of this name (`plain_host`), or None when it is not known as one."""
    labels = name.split(".")
    tails = (".".join(labels[first:]) for first in range(len(labels) - 1))
    return next((_SERVICES[tail] for tail in tails if tail in _SERVICES), None)


def is_this_box(name: str) -> bool:
    """Say whether a name means this box whatever a resolver says (RFC 6761)."""
    return name in ("localhost", "localhost.localdomain") or name.endswith(".localhost")


def is_of_site(name: str) -> bool:
    """Say whether a name exists on sites only: mDNS (RFC 6762), home networks (RFC 8375), `.internal`."""
    return name.endswith(_SITE_SUFFIXES)


def is_metadata(name: str) -> bool:
    """Say whether a cloud hands out a machine's credentials under this name."""
    return name in _METADATA_NAMES
