//! Notifications of the desktop: `org.freedesktop.Notifications` on the session bus.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;

use zbus::export::futures_core::Stream;
use zbus::zvariant::Value;
use zbus::{Connection, MessageStream, Proxy};

use super::notice::Notice;

const SERVICE: &str = "org.freedesktop.Notifications";
const PATH: &str = "/org/freedesktop/Notifications";
const APPLICATION: &str = "zzdot";
const ICON: &str = "network-wired";
/// It stays until somebody puts it away.
const NEVER: i32 = 0;
const NORMAL: u8 = 1;
const CRITICAL: u8 = 2;

/// The desktop of a session.
pub(super) struct Desktop {
    notifications: Proxy<'static>,
}

impl Desktop {
    pub(super) async fn new(bus: &Connection) -> zbus::Result<Self> {
        let notifications = Proxy::new(bus, SERVICE, PATH, SERVICE).await?;
        Ok(Self { notifications })
    }

    /// Shows a notice; gives the number by which it can be closed.
    pub(super) async fn show(&self, notice: &Notice) -> zbus::Result<u32> {
        let urgency = if notice.is_urgent { CRITICAL } else { NORMAL };
        let hints = HashMap::from([
            ("urgency", Value::U8(urgency)),
            ("desktop-entry", Value::from(APPLICATION)),
        ]);
        // No actions: nobody is trusted by a click.
        let actions: [&str; 0] = [];
        let replaces = 0_u32;
        let arguments = (
            APPLICATION,
            replaces,
            ICON,
            notice.summary.as_str(),
            notice.body.as_str(),
            &actions[..],
            hints,
            NEVER,
        );
        self.notifications.call("Notify", &arguments).await
    }

    pub(super) async fn close(&self, id: u32) -> zbus::Result<()> {
        self.notifications.call("CloseNotification", &id).await
    }

    /// Returns when the session ends.
    pub(super) async fn end(&self) {
        let mut messages = MessageStream::from(self.notifications.connection());
        // The stream ends with the connection; what is said on it until then concerns others.
        while poll_fn(|context| Pin::new(&mut messages).poll_next(context))
            .await
            .is_some_and(|message| message.is_ok())
        {}
    }
}
