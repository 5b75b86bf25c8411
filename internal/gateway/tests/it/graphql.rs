//! GraphQL over HTTP, before services that count what they are asked.

mod hostile;
mod operations;
mod over_http;
mod shop;
