use super::*;
use crate::memory::MemoryCapacity;

const LONG: Duration = Duration::from_secs(3_600);

fn scripted(chunks: &[(Duration, &'static str)]) -> ResponseBody {
    ResponseBody::scripted(chunks.iter().map(|(delay, text)| (*delay, Bytes::from_static(text.as_bytes()))).collect())
}

async fn collect(body: ResponseBody, limit: usize, idle: Duration, capacity: usize) -> Result<Bytes, Error> {
    let memory = MemoryCapacity::new(capacity);
    body.collect(limit, idle, &mut memory.reservation()).await
}

#[actix_web::test]
async fn scripted_chunks_arrive_in_order_after_their_delays() {
    let delay = Duration::from_millis(20);
    let mut body = scripted(&[(Duration::ZERO, "a"), (delay, "b")]);
    let started_at = std::time::Instant::now();
    assert_eq!(body.next(LONG).await.unwrap().unwrap(), "a");
    assert_eq!(body.next(LONG).await.unwrap().unwrap(), "b");
    assert!(started_at.elapsed() >= delay);
    assert_eq!(body.next(LONG).await, Ok(None));
}

#[actix_web::test]
async fn a_body_that_is_idle_for_too_long_times_out() {
    let idle = Duration::from_millis(20);
    assert_eq!(scripted(&[(LONG, "late")]).next(idle).await, Err(Error::timeout(Stage::Body)));
    assert_eq!(collect(scripted(&[(Duration::ZERO, "a"), (LONG, "late")]), 10, idle, 100).await, Err(Error::timeout(Stage::Body)));
}

#[actix_web::test]
async fn a_body_is_collected_within_its_limit_and_the_memory_capacity() {
    // Chunks well above the smallest allocation, which may be larger than what was asked for.
    let (first, second, third) = ("0123456789abcdef", "ghijklmnopqrstuv", "w");
    let body = || scripted(&[(Duration::ZERO, first), (Duration::ZERO, second), (Duration::from_millis(1), third)]);
    assert_eq!(collect(body(), 33, LONG, 100).await.unwrap(), [first, second, third].concat());
    assert_eq!(collect(body(), 32, LONG, 100).await.unwrap_err().class, Class::TooLarge);
    assert_eq!(collect(body(), 33, LONG, 32).await.unwrap_err().class, Class::OutOfMemory);
    assert_eq!(collect(scripted(&[]), 5, LONG, 0).await.unwrap(), "");
}
