//! The attack matrix: every attack is a test, and the attacks of a group share a lab.
//!
//! The first test that wants a group plays it; the others of the same run read what came of theirs. The labs of
//! different groups are played at the same time, as far as the test runner goes.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{self, Command},
};

use nix::fcntl::{Flock, FlockArg};
use zzdot_testnet::attack::{GROUPS, Report, Tally, table};

/// What came of all attacks of a group, in this run.
fn reports(group: &str) -> Vec<Report> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // One process for each test, or one for all of them.
    let run = env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| process::id().to_string());
    let path = folder.join(format!("attacks-{group}-{run}.jsonl"));
    let turn = folder.join(format!("attacks-{group}.turn"));
    let turn = File::create(turn).expect("the folder of the tests can be written to");
    let _turn = Flock::lock(turn, FlockArg::LockExclusive)
        .map_err(|(_, errno)| errno)
        .expect("files can be locked");
    if !path.exists() {
        forget_older(folder, group);
        let output = Command::new(env!("CARGO_BIN_EXE_zzdot-testnet"))
            .args(["attack", group])
            .output()
            .expect("the binary of this package is built with its tests");
        let said = String::from_utf8_lossy(&output.stderr);
        let mut kept = output.stdout;
        // Every test of the group shows what the lab said, should it be missing from the reports.
        kept.extend(format!("# {}\n", said.replace('\n', "\n# ")).bytes());
        fs::write(&path, kept).expect("the folder of the tests can be written to");
    }
    let text = fs::read_to_string(&path).expect("it was written in this run");
    let reports: Vec<_> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    assert!(!reports.is_empty(), "the lab of '{group}' failed:\n{text}");
    reports
}

fn forget_older(folder: &Path, group: &str) {
    let prefix = format!("attacks-{group}-");
    let older = fs::read_dir(folder).into_iter().flatten().flatten();
    let older: Vec<PathBuf> = older
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
        })
        .collect();
    for path in older {
        let _ = fs::remove_file(path);
    }
}

/// The attack that the test is named after ended as the threat model says.
fn ended_well(test: &str) {
    let group = GROUPS
        .iter()
        .find(|group| group.attacks.iter().any(|attack| attack.test == test))
        .expect("a test is named after an attack");
    let report = reports(group.name)
        .into_iter()
        .find(|report| report.test == test)
        .expect("the lab reports every attack of its group");
    println!("{report:#?}");
    assert_eq!(report.failure, None);
}

/// This file has a test for each.
#[test]
fn every_attack_is_a_test() {
    let own: String = include_str!("attacks.rs").split_whitespace().collect();
    for attack in GROUPS.iter().flat_map(|group| group.attacks) {
        let test = format!("fn{name}(){{ended_well(\"{name}\"", name = attack.test);
        assert!(own.contains(&test), "no test for {}", attack.test);
    }
}

#[test]
fn dropping_the_port_of_tls_wins_no_question() {
    ended_well("dropping_the_port_of_tls_wins_no_question");
}

#[test]
fn an_unreachable_port_of_tls_wins_no_question() {
    ended_well("an_unreachable_port_of_tls_wins_no_question");
}

#[test]
fn resetting_the_port_of_tls_wins_no_question() {
    ended_well("resetting_the_port_of_tls_wins_no_question");
}

#[test]
fn silence_on_the_port_of_tls_wins_no_question() {
    ended_well("silence_on_the_port_of_tls_wins_no_question");
}

#[test]
fn cleartext_on_the_port_of_tls_wins_no_question() {
    ended_well("cleartext_on_the_port_of_tls_wins_no_question");
}

#[test]
fn another_key_under_the_same_name_wins_no_question() {
    ended_well("another_key_under_the_same_name_wins_no_question");
}

#[test]
fn failures_in_clear_do_not_talk_a_client_out_of_tls() {
    ended_well("failures_in_clear_do_not_talk_a_client_out_of_tls");
}

#[test]
fn refusals_in_clear_do_not_talk_a_client_out_of_tls() {
    ended_well("refusals_in_clear_do_not_talk_a_client_out_of_tls");
}

#[test]
fn endless_truncation_does_not_talk_a_client_out_of_tls() {
    ended_well("endless_truncation_does_not_talk_a_client_out_of_tls");
}

#[test]
fn stripped_signatures_do_not_talk_a_client_out_of_tls() {
    ended_well("stripped_signatures_do_not_talk_a_client_out_of_tls");
}

#[test]
fn tls_that_is_cut_again_and_again_changes_no_answer() {
    ended_well("tls_that_is_cut_again_and_again_changes_no_answer");
}

#[test]
fn tls_with_turned_bits_wins_no_question_and_changes_no_answer() {
    ended_well("tls_with_turned_bits_wins_no_question_and_changes_no_answer");
}

#[test]
fn relaying_the_genuine_zones_before_another_key_wins_no_question() {
    ended_well("relaying_the_genuine_zones_before_another_key_wins_no_question");
}

#[test]
fn replaying_older_zones_wins_no_question() {
    ended_well("replaying_older_zones_wins_no_question");
}

#[test]
fn another_identity_in_its_place_wins_no_question() {
    ended_well("another_identity_in_its_place_wins_no_question");
}

#[test]
fn a_tlsa_record_for_another_key_wins_no_question() {
    ended_well("a_tlsa_record_for_another_key_wins_no_question");
}

#[test]
fn zones_without_their_tlsa_record_win_no_question() {
    ended_well("zones_without_their_tlsa_record_win_no_question");
}

#[test]
fn an_attacker_at_the_first_meeting_is_believed_and_found_out_when_it_is_gone() {
    ended_well("an_attacker_at_the_first_meeting_is_believed_and_found_out_when_it_is_gone");
}

#[test]
fn zones_that_expired_are_not_met() {
    ended_well("zones_that_expired_are_not_met");
}

#[test]
fn zones_of_the_future_are_not_met() {
    ended_well("zones_of_the_future_are_not_met");
}

#[test]
fn relayed_zones_at_a_first_meeting_win_no_question() {
    ended_well("relayed_zones_at_a_first_meeting_win_no_question");
}

#[test]
fn at_1970_nothing_is_met() {
    ended_well("at_1970_nothing_is_met");
}

#[test]
fn at_2100_nothing_is_met() {
    ended_well("at_2100_nothing_is_met");
}

#[test]
fn at_1970_a_known_resolver_serves() {
    ended_well("at_1970_a_known_resolver_serves");
}

#[test]
fn at_2100_a_known_resolver_is_not_used_until_the_clock_is_right() {
    ended_well("at_2100_a_known_resolver_is_not_used_until_the_clock_is_right");
}

#[test]
fn at_1970_another_key_wins_no_question() {
    ended_well("at_1970_another_key_wins_no_question");
}

#[test]
fn a_clock_moved_on_until_signatures_expire_wins_no_question() {
    ended_well("a_clock_moved_on_until_signatures_expire_wins_no_question");
}

#[test]
fn a_zone_of_hostile_addresses_reaches_nothing_on_this_computer_and_little_elsewhere() {
    ended_well("a_zone_of_hostile_addresses_reaches_nothing_on_this_computer_and_little_elsewhere");
}

#[test]
fn a_zone_that_names_the_port_of_another_service_brings_it_a_tls_handshake_and_nothing_else() {
    ended_well(
        "a_zone_that_names_the_port_of_another_service_brings_it_a_tls_handshake_and_nothing_else",
    );
}

#[test]
fn a_server_that_offers_two_resolvers_wins_no_question() {
    ended_well("a_server_that_offers_two_resolvers_wins_no_question");
}

#[test]
fn a_stranger_does_not_learn_the_name_of_the_resolver_that_is_known() {
    ended_well("a_stranger_does_not_learn_the_name_of_the_resolver_that_is_known");
}

#[test]
fn who_withholds_the_zones_at_a_first_meeting_reads_along_where_legacy_servers_may_be_used() {
    ended_well(
        "who_withholds_the_zones_at_a_first_meeting_reads_along_where_legacy_servers_may_be_used",
    );
}

#[test]
fn who_withholds_the_zones_wins_no_question_where_legacy_servers_are_refused() {
    ended_well("who_withholds_the_zones_wins_no_question_where_legacy_servers_are_refused");
}

#[test]
fn without_tls_nothing_is_asked_where_encryption_is_wanted() {
    ended_well("without_tls_nothing_is_asked_where_encryption_is_wanted");
}

#[test]
fn tls_with_anybody_is_believed_where_only_encryption_is_wanted() {
    ended_well("tls_with_anybody_is_believed_where_only_encryption_is_wanted");
}

#[test]
fn tls_with_anybody_is_not_enough_where_proof_is_wanted() {
    ended_well("tls_with_anybody_is_not_enough_where_proof_is_wanted");
}

#[test]
fn a_stranger_is_not_used_before_somebody_approves() {
    ended_well("a_stranger_is_not_used_before_somebody_approves");
}

#[test]
fn a_stranger_is_not_used_where_all_are_enrolled() {
    ended_well("a_stranger_is_not_used_where_all_are_enrolled");
}

#[test]
fn a_clock_that_was_ahead_and_is_set_back_locks_nobody_out() {
    ended_well("a_clock_that_was_ahead_and_is_set_back_locks_nobody_out");
}

#[test]
fn a_twin_with_every_address_of_home_and_its_own_identity_wins_no_question() {
    ended_well("a_twin_with_every_address_of_home_and_its_own_identity_wins_no_question");
}

#[test]
fn a_twin_with_every_address_of_home_that_looks_legacy_wins_no_question() {
    ended_well("a_twin_with_every_address_of_home_that_looks_legacy_wins_no_question");
}

#[test]
fn who_takes_over_the_address_of_the_router_wins_no_question() {
    ended_well("who_takes_over_the_address_of_the_router_wins_no_question");
}

#[test]
fn a_twin_with_another_router_and_the_range_of_home_wins_no_question() {
    ended_well("a_twin_with_another_router_and_the_range_of_home_wins_no_question");
}

#[test]
fn a_place_that_shows_nothing_of_home_is_a_new_one_where_legacy_servers_may_be_used() {
    ended_well("a_place_that_shows_nothing_of_home_is_a_new_one_where_legacy_servers_may_be_used");
}

#[test]
fn a_place_that_shows_nothing_of_home_wins_no_question_where_legacy_servers_are_refused() {
    ended_well(
        "a_place_that_shows_nothing_of_home_wins_no_question_where_legacy_servers_are_refused",
    );
}

#[test]
fn who_took_over_the_address_of_the_router_before_the_client_starts_makes_it_a_new_place() {
    ended_well(
        "who_took_over_the_address_of_the_router_before_the_client_starts_makes_it_a_new_place",
    );
}

#[test]
fn a_stolen_certificate_that_was_replaced_wins_no_question() {
    ended_well("a_stolen_certificate_that_was_replaced_wins_no_question");
}

#[test]
fn a_stolen_certificate_behind_zones_that_pose_as_out_of_a_cache_wins_no_question() {
    ended_well("a_stolen_certificate_behind_zones_that_pose_as_out_of_a_cache_wins_no_question");
}

#[test]
fn a_stolen_zone_signing_key_serves_its_thief_until_the_keys_above_it_are_replaced_too() {
    ended_well(
        "a_stolen_zone_signing_key_serves_its_thief_until_the_keys_above_it_are_replaced_too",
    );
}

#[test]
fn a_stolen_zone_signing_key_is_worth_nothing_when_the_keys_above_it_are_replaced() {
    ended_well("a_stolen_zone_signing_key_is_worth_nothing_when_the_keys_above_it_are_replaced");
}

#[test]
fn a_portal_played_on_a_known_network_opens_nothing() {
    ended_well("a_portal_played_on_a_known_network_opens_nothing");
}

#[test]
fn a_portal_played_on_a_new_network_opens_its_own_name_and_teaches_nothing() {
    ended_well("a_portal_played_on_a_new_network_opens_its_own_name_and_teaches_nothing");
}

#[test]
fn names_of_the_outside_that_lead_inside_are_passed_on() {
    ended_well("names_of_the_outside_that_lead_inside_are_passed_on");
}

/// The seed is printed; ZZDOT_HOSTILE_SEED sets another.
#[test]
fn five_hundred_random_schedules_of_faults_leak_no_question() {
    let output = Command::new(env!("CARGO_BIN_EXE_zzdot-testnet"))
        .args(["attack", "schedules"])
        .output()
        .expect("the binary of this package is built with its tests");
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}{}", String::from_utf8_lossy(&output.stderr));
    let tally: Tally = said
        .lines()
        .find_map(|line| serde_json::from_str(line).ok())
        .expect("the lab tells what came of the schedules");
    assert!(output.status.success());
    assert_eq!(tally.schedules, 500);
    assert_eq!((tally.read, tally.cleartext, tally.believed), (0, 0, 0));
    // Schedules in which nobody is ever served, or nobody ever attacked, would prove nothing.
    assert!(tally.answered > 200 && tally.refused > 200, "{tally:?}");
}

#[test]
fn the_threat_model_tells_what_came_of_the_attacks() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/threat-model.md");
    let page = fs::read_to_string(page).expect("the threat model is there");
    let missing: Vec<_> = table(GROUPS)
        .lines()
        .filter(|line| !page.lines().any(|written| written == *line))
        .map(str::to_owned)
        .collect();
    assert!(
        missing.is_empty(),
        "docs/threat-model.md lacks these lines (all of them: zzdot-testnet attack table):\n{}",
        missing.join("\n")
    );
}

#[test]
fn an_open_twin_of_the_wireless_network_wins_no_question() {
    ended_well("an_open_twin_of_the_wireless_network_wins_no_question");
}

#[test]
fn a_wireless_twin_cloned_to_the_last_address_wins_no_question() {
    ended_well("a_wireless_twin_cloned_to_the_last_address_wins_no_question");
}

#[test]
fn the_name_of_the_wireless_network_elsewhere_wins_no_question() {
    ended_well("the_name_of_the_wireless_network_elsewhere_wins_no_question");
}

#[test]
fn roaming_to_an_open_twin_wins_no_question() {
    ended_well("roaming_to_an_open_twin_wins_no_question");
}
