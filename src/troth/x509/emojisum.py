"""A digest as pictures, one a byte, for eyes to compare: the words of emojisum, draft+2, which step prints too."""

_PICTURES = """
👍 🎱 ✈️ 👽 ⚓ 👼 😠 🐜 🍎 🎨 👶 🍼 🔙 🎍 🍌 💈
🛁 🍺 🔔 🚴‍♂️ 🐦 🎂 🌼 🚙 🐗 💣 💥 🙇‍♂️ 👦 💔 💡 🚌
🌵 📆 📷 🍬 🐱 🍒 🚸 🍫 👏 ☁️ ♣️ 🇨🇳 ☕ 🚧 🍪 ©️
🌽 🐮 🌙 👑 😢 🔮 ➰ 👯‍♀️ 💨 🇩🇪 ♦️ 🐶 🍩 🐉 📀 👂
🍆 🐘 🔚 ✉ 🇪🇸 👀 👊 👨‍👩‍👦 🎡 😰 🔥 🎆 💾 🏈 🍴 🍀
🇫🇷 🍟 🥜 🖕 🌕 🎲 🇪🇺 💎 👧 🐐 😬 😁 💂‍♂️ 🎸 🔫 🍔
🔨 🐹 🙉 ❤️ 😻 ❣️ ✔️ 🗿 🏮 🚁 🔪 🐝 🐴 🏇 ⌛ 🏠
🕵️‍♀️ 🍦 👿 🇮🇹 🎃 👺 🇯🇵 🔑 💋 😽 🐨 🇰🇷 🍋 💄 🔒 🍭
👨 🍁 😷 🤘 🔬 💰 🐒 🗻 💪 🍄 🎹 🎼 💅 🌑 ⛔ 👃
🎛️ 🔩 ⭕ 🌊 👌 🔛 📦 🌴 🐼 📎 ⛅ 🛂 🐾 🍑 🐧 ☎️
🐷 💊 🍍 🍕 👈 👉 💩 🍗 🙏 👸 👛 📌 🐰 🌈 ✋ ♻️
🚗 ®️ 🎀 🍚 🚀 🎢 🐓 🇷🇺 ⛵ 🎅 🛰️ 😆 🎷 ✂️ 🙈 🐑
🐚 👞 🎿 💀 😪 😄 😺 😏 🚬 🐌 🐍 ❄️ ⚽ 🔜 👾 ♠️
🙊 ⭐ ⛲ 🗽 🚂 🌻 😎 ☀️ 🌅 🏄‍♂️ 🏊‍♂️ 💉 🎉 🍊 🚕 🎾
⛺ 💭 ™️ 🚽 👅 🎩 🚜 🚎 🤢 🏆 🎺 🐢 🎠 👭 🇬🇧 ☂️
🔓 🇺🇸 ✌️ 📼 🎻 ⚠️ 🍉 👋 〰️ 🚾 ♿ 👩 ❌ 😋 ⚡ 💤
""".split()  # noqa: SIM905 - 256 of them are read better in rows


def pictures(digest: bytes) -> str:
    """One picture for each byte, without blanks."""
    return "".join(_PICTURES[byte] for byte in digest)
