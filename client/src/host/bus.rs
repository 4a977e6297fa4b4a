//! The system's D-Bus: whom it has, and a sign when one of them has changed.

use std::pin::Pin;
use std::time::Duration;

use zbus::export::futures_core::Stream;
use zbus::message::Type;
use zbus::names::OwnedUniqueName;
use zbus::{Connection, MatchRule, MessageStream, connection};

use super::{network_manager, resolved};

/// What is asked of a daemon on this machine is answered in milliseconds; a stuck one must not hold us.
const CALL_TIME: Duration = Duration::from_secs(2);
/// Signals that may wait: any of them makes us look again, so that losing some loses nothing.
const SIGNALS_WAITING: usize = 256;

const BUS: &str = "org.freedesktop.DBus";
const PATH: &str = "/org/freedesktop/DBus";

/// A connection to the system's bus.
pub(super) struct Bus {
    pub(super) connection: Connection,
    signals: MessageStream,
}

impl Bus {
    /// Connects, and asks for a sign whenever something changes that is worth a look.
    pub(super) async fn connect() -> zbus::Result<Self> {
        let connecting = async {
            let connection = connection().await?;
            let mut connection_signals = MessageStream::from(&connection);
            connection_signals.set_max_queued(SIGNALS_WAITING);
            let subscribed = Self {
                connection,
                signals: connection_signals,
            };
            subscribed.subscribe().await?;
            Ok(subscribed)
        };
        in_time(connecting).await
    }

    async fn subscribe(&self) -> zbus::Result<()> {
        let properties = "org.freedesktop.DBus.Properties";
        let mut rules = Vec::new();
        for name in [network_manager::NAME, resolved::NAME] {
            let comes_or_goes = rule(BUS, BUS, "NameOwnerChanged")?.add_arg(name)?;
            rules.push(comes_or_goes.build());
        }
        for interface in network_manager::INTERFACES {
            let changed = rule(network_manager::NAME, properties, "PropertiesChanged")?;
            rules.push(changed.add_arg(interface)?.build());
        }
        let changed = rule(resolved::NAME, properties, "PropertiesChanged")?;
        rules.push(changed.add_arg(resolved::MANAGER)?.build());
        for rule in rules {
            self.connection
                .call_method(Some(BUS), PATH, Some(BUS), "AddMatch", &rule.to_string())
                .await?;
        }
        Ok(())
    }

    /// Who has a name now. To call an owner by this starts nobody.
    pub(super) async fn owner(&self, name: &str) -> Option<OwnedUniqueName> {
        owner(&self.connection, name).await
    }

    /// Returns when something has changed; an error when the bus is gone.
    pub(super) async fn changed(&mut self) -> zbus::Result<()> {
        loop {
            let next = std::future::poll_fn(|cx| Pin::new(&mut self.signals).poll_next(cx)).await;
            match next {
                Some(Ok(message)) if message.message_type() == Type::Signal => return Ok(()),
                // Answers to our own calls pass by here too.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => {
                    return Err(zbus::Error::InputOutput(std::sync::Arc::new(
                        std::io::ErrorKind::UnexpectedEof.into(),
                    )));
                }
            }
        }
    }
}

/// A connection that asks for no signals.
pub(super) async fn connection() -> zbus::Result<Connection> {
    let building = connection::Builder::system()?
        .method_timeout(CALL_TIME)
        .build();
    in_time(building).await
}

pub(super) async fn owner(connection: &Connection, name: &str) -> Option<OwnedUniqueName> {
    let asked = connection.call_method(Some(BUS), PATH, Some(BUS), "GetNameOwner", &name);
    asked.await.ok()?.body().deserialize().ok()
}

/// A bus that accepts and then says nothing must not hold us either.
async fn in_time<T>(work: impl Future<Output = zbus::Result<T>>) -> zbus::Result<T> {
    match tokio::time::timeout(CALL_TIME, work).await {
        Ok(done) => done,
        Err(_) => Err(zbus::Error::InputOutput(std::sync::Arc::new(
            std::io::ErrorKind::TimedOut.into(),
        ))),
    }
}

fn rule<'a>(
    sender: &'a str,
    interface: &'a str,
    member: &'a str,
) -> zbus::Result<zbus::match_rule::Builder<'a>> {
    MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(sender)?
        .interface(interface)?
        .member(member)
}
