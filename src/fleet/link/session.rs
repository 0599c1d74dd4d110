//! What is said over a connection to the broker that is up.

use std::time::Duration;

use kiosk_proto::fleet::fits;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{Publish, PublishProperties};
use rumqttc::{AsyncClient, PublishNoticeError, PublishOptions, SubscribeFilter};
use tracing::debug;

use crate::fleet::identity::Identity;

/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// A connection that is up. Everything here returns at once; what is sent over a connection that was lost is lost.
#[derive(Debug, Clone)]
pub struct Session {
    /// As whom.
    pub identity: Identity,
    /// Topics that the broker does not let the kiosk read.
    pub unreadable: Vec<String>,
    pub(super) client: AsyncClient,
    pub(super) max_packet_bytes: u32,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The broker has it.
    Taken,
    /// The broker does not take it: why.
    Refused(String),
    /// The connection was lost with it.
    Lost,
}

/// Why a message was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The broker would cut the connection.
    #[error(
        "{bytes} bytes on {topic} are more than the broker takes ({limit}); raise max_packet_size in its configuration"
    )]
    TooLarge {
        /// Of the payload.
        bytes: usize,
        /// Where to.
        topic: String,
        /// What the broker said.
        limit: u32,
    },
    /// The connection is gone, or does not drain.
    #[error("the connection to the broker is gone or does not drain")]
    NoConnection,
}

impl Session {
    /// Publishes with QoS 1; what is returned ends when the broker has it or has refused it, or the connection is gone.
    ///
    /// # Errors
    /// When it is too large, or there is no connection.
    pub fn publish(
        &self,
        topic: &str,
        payload: Vec<u8>,
        retain: bool,
        properties: PublishProperties,
    ) -> Result<impl Future<Output = Fate> + Send + 'static, NotSent> {
        self.fits(topic, payload.len())?;
        let options = PublishOptions::new(QoS::AtLeastOnce).retain(retain).properties(properties);
        let notice = self.client.try_publish_tracked(topic, payload, options).map_err(|_| NotSent::NoConnection)?;
        Ok(async move {
            match notice.wait_completion_async().await {
                Ok(()) => Fate::Taken,
                Err(PublishNoticeError::V5PubAck(reason)) => Fate::Refused(format!("{reason:?}")),
                Err(_) => Fate::Lost,
            }
        })
    }

    /// Publishes with QoS 0: figures that nobody misses.
    ///
    /// # Errors
    /// When it is too large, or there is no connection.
    pub fn publish_and_forget(&self, topic: &str, payload: Vec<u8>) -> Result<(), NotSent> {
        self.fits(topic, payload.len())?;
        self.client.try_publish(topic, payload, PublishOptions::new(QoS::AtMostOnce)).map_err(|_| NotSent::NoConnection)
    }

    /// Acknowledges a message, so that the broker forgets it.
    pub fn ack(&self, message: &Publish) {
        if self.client.try_ack(message).is_err() {
            debug!("a message is not acknowledged: the connection is gone; the broker sends it again");
        }
    }

    /// Subscribes again: what is retained comes anew.
    pub fn subscribe(&self, topics: &[String]) {
        let filters = topics.iter().map(|topic| SubscribeFilter::new(topic, QoS::AtLeastOnce));
        if self.client.try_subscribe_many(filters).is_err() {
            debug!("not subscribed again: the connection is gone");
        }
    }

    /// Says farewell: the last will is not published.
    pub async fn close(&self) {
        let _ = self.client.disconnect_with_timeout(FAREWELL).await;
    }

    /// Whether the broker takes a payload of so many bytes.
    ///
    /// # Errors
    /// When it is too large.
    pub fn fits(&self, topic: &str, bytes: usize) -> Result<(), NotSent> {
        let limit = self.max_packet_bytes;
        fits(topic, bytes, limit).then_some(()).ok_or_else(|| NotSent::TooLarge {
            bytes,
            topic: topic.to_owned(),
            limit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::QUEUE;
    use super::*;
    use kiosk_proto::fleet::MAX_PACKET_BYTES;
    use rumqttc::{Broker, MqttOptions};

    #[test]
    fn a_connection_that_does_not_drain_is_told_and_not_waited_for() {
        let options = MqttOptions::new("kiosk-1", Broker::tcp("192.0.2.1", 8883));
        // Nobody asks it to write anything.
        let (client, _eventloop) = AsyncClient::builder(options).capacity(QUEUE).build();
        let identity = Identity { certificate: "c".into(), key: "k".into(), leaf: None, refused: None, promote: None };
        let session = Session { identity, unreadable: Vec::new(), client, max_packet_bytes: MAX_PACKET_BYTES };
        let sent = (0..=QUEUE).map(|_| session.publish("t", vec![1], false, PublishProperties::default()).map(drop));
        assert_eq!(sent.filter(Result::is_ok).count(), QUEUE);
        assert_eq!(session.publish_and_forget("t", vec![1]), Err(NotSent::NoConnection));
        session.subscribe(&["t".to_owned()]);
    }
}
