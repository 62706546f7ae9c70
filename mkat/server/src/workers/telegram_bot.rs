//! Listens to Telegram: buttons and commands.
